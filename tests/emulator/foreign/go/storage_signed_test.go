package clients

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
)

func TestStorageSignedUrls(t *testing.T) {
	bucket := newBucket(t, nil)
	write(t, bucket.Object("signed"), "data")
	fetch := func(url string) (int, string) {
		answer := get(http.Get(url))(t)
		defer answer.Body.Close()
		return answer.StatusCode, string(get(io.ReadAll(answer.Body))(t))
	}
	for _, scheme := range []storage.SigningScheme{storage.SigningSchemeV2, storage.SigningSchemeV4} {
		url := get(bucket.SignedURL("signed", &storage.SignedURLOptions{
			Method: "GET", Expires: time.Now().Add(time.Minute), Scheme: scheme,
		}))(t)
		code, text := fetch(url)
		equal(t, []any{code, text}, []any{200, "data"})
		code, text = fetch(strings.Replace(url, "/signed?", "/other?", 1))
		equal(t, []any{code, strings.Contains(text, "SignatureDoesNotMatch")}, []any{403, true})
		deletion := get(http.NewRequest("DELETE", url, nil))(t)
		equal(t, get(http.DefaultClient.Do(deletion))(t).StatusCode, 403)
	}
	put := get(bucket.SignedURL("put", &storage.SignedURLOptions{
		Method: "PUT", Expires: time.Now().Add(time.Minute), Scheme: storage.SigningSchemeV4,
		ContentType: "text/plain", Headers: []string{"x-goog-meta-a:1"},
	}))(t)
	request := get(http.NewRequest("PUT", put, strings.NewReader("by URL")))(t)
	request.Header.Set("Content-Type", "text/plain")
	request.Header.Set("x-goog-meta-a", "1")
	equal(t, get(http.DefaultClient.Do(request))(t).StatusCode, 200)
	equal(t, get(bucket.Object("put").Attrs(ctx))(t).Metadata, map[string]string{"a": "1"})

	policy := get(bucket.GenerateSignedPostPolicyV4("form", &storage.PostPolicyV4Options{
		Expires:    time.Now().Add(time.Minute),
		Fields:     &storage.PolicyV4Fields{StatusCodeOnSuccess: 201, ContentType: "text/plain"},
		Conditions: []storage.PostPolicyV4Condition{storage.ConditionContentLengthRange(0, 10)},
	}))(t)
	post := func(data string) int {
		body := &bytes.Buffer{}
		form := multipart.NewWriter(body)
		for name, value := range policy.Fields {
			ok(t, form.WriteField(name, value))
		}
		get(get(form.CreateFormFile("file", "name"))(t).Write([]byte(data)))(t)
		ok(t, form.Close())
		return get(http.Post(policy.URL, form.FormDataContentType(), body))(t).StatusCode
	}
	equal(t, []int{post("by form"), post("longer than allowed")}, []int{201, 400})
	equal(t, read(t, bucket.Object("form")), "by form")
}

func TestStorageNotifications(t *testing.T) {
	bucket := newBucket(t, nil)
	topic := newTopic(t, nil)
	id := lastPart(topic)
	account := get(storageClient(t).ServiceAccount(ctx, project))(t)
	wanted := &storage.Notification{
		TopicProjectID: project, TopicID: id, PayloadFormat: storage.JSONPayload,
		EventTypes: []string{storage.ObjectFinalizeEvent}, CustomAttributes: map[string]string{"k": "v"},
	}
	refusedHttp(t, failed(bucket.AddNotification(ctx, wanted)), 403, "")
	grantTopic(t, topic, "roles/pubsub.publisher", "serviceAccount:"+account)
	subscription := newSubscription(t, topic, nil)
	made := get(bucket.AddNotification(ctx, wanted))(t)
	found := get(bucket.Notifications(ctx))(t)
	equal(t, found[made.ID].TopicID, id)
	api := storageApi(t)
	equal(t, get(api.Notifications.Get(bucket.BucketName(), made.ID).Do())(t).CustomAttributes, wanted.CustomAttributes)
	write(t, bucket.Object("new"), "data")
	message := pullOne(t, subscription).Message
	equal(t, []string{message.Attributes["eventType"], message.Attributes["objectId"], message.Attributes["k"]},
		[]string{"OBJECT_FINALIZE", "new", "v"})
	ok(t, bucket.DeleteNotification(ctx, made.ID))
	equal(t, len(get(bucket.Notifications(ctx))(t)), 0)
	refusedHttp(t, bucket.DeleteNotification(ctx, made.ID), 404, "")
}

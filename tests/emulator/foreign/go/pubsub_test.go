package clients

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	old "cloud.google.com/go/pubsub"
	"cloud.google.com/go/pubsub/v2"
	admin "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/idtoken"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func topicsClient(t *testing.T) *admin.TopicAdminClient {
	t.Helper()
	return get(admin.NewTopicAdminClient(ctx))(t)
}

func subscriptionsClient(t *testing.T) *admin.SubscriptionAdminClient {
	t.Helper()
	return get(admin.NewSubscriptionAdminClient(ctx))(t)
}

func newTopic(t *testing.T, topic *pubsubpb.Topic) string {
	t.Helper()
	if topic == nil {
		topic = &pubsubpb.Topic{}
	}
	topic.Name = parent + "/topics/" + fresh("go")
	client := topicsClient(t)
	get(client.CreateTopic(ctx, topic))(t)
	t.Cleanup(func() { client.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: topic.Name}) })
	return topic.Name
}

func newSubscription(t *testing.T, topic string, subscription *pubsubpb.Subscription) string {
	t.Helper()
	if subscription == nil {
		subscription = &pubsubpb.Subscription{}
	}
	subscription.Name, subscription.Topic = parent+"/subscriptions/"+fresh("go"), topic
	client := subscriptionsClient(t)
	get(client.CreateSubscription(ctx, subscription))(t)
	t.Cleanup(func() {
		client.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: subscription.Name})
	})
	return subscription.Name
}

func publish(t *testing.T, topic string, messages ...*pubsubpb.PubsubMessage) []string {
	t.Helper()
	request := &pubsubpb.PublishRequest{Topic: topic, Messages: messages}
	return get(topicsClient(t).Publish(ctx, request))(t).MessageIds
}

func text(data string) *pubsubpb.PubsubMessage { return &pubsubpb.PubsubMessage{Data: []byte(data)} }

func pull(t *testing.T, subscription string) []*pubsubpb.ReceivedMessage {
	t.Helper()
	request := &pubsubpb.PullRequest{Subscription: subscription, MaxMessages: 10, ReturnImmediately: true}
	return get(subscriptionsClient(t).Pull(ctx, request))(t).ReceivedMessages
}

func pullOne(t *testing.T, subscription string) *pubsubpb.ReceivedMessage {
	t.Helper()
	var found []*pubsubpb.ReceivedMessage
	until(t, func() bool {
		found = pull(t, subscription)
		return len(found) > 0
	})
	return found[0]
}

func acknowledge(t *testing.T, subscription string, messages ...*pubsubpb.ReceivedMessage) {
	t.Helper()
	ok(t, subscriptionsClient(t).Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{
		Subscription: subscription, AckIds: names(messages, (*pubsubpb.ReceivedMessage).GetAckId),
	}))
}

func data(message *pubsubpb.ReceivedMessage) string { return string(message.Message.Data) }

func grantTopic(t *testing.T, topic, role, member string) {
	t.Helper()
	service := get(old.NewClient(ctx, project))(t)
	defer service.Close()
	handle := service.Topic(topic[len(parent+"/topics/"):]).IAM()
	policy := get(handle.Policy(ctx))(t)
	policy.Add(member, "roles/pubsub.publisher")
	ok(t, handle.SetPolicy(ctx, policy))
}

func TestPubsubTopics(t *testing.T) {
	client := topicsClient(t)
	name := newTopic(t, &pubsubpb.Topic{Labels: map[string]string{"a": "1"}})
	refused(t, failed(client.CreateTopic(ctx, &pubsubpb.Topic{Name: name})), codes.AlreadyExists, "Resource already exists")
	refused(t, failed(client.CreateTopic(ctx, &pubsubpb.Topic{Name: parent + "/topics/x"})), codes.InvalidArgument, "")
	changed := get(client.UpdateTopic(ctx, &pubsubpb.UpdateTopicRequest{
		Topic:      &pubsubpb.Topic{Name: name, MessageRetentionDuration: durationpb.New(time.Hour), Labels: map[string]string{"b": "2"}},
		UpdateMask: mask("message_retention_duration"),
	}))(t)
	equal(t, changed.Labels, map[string]string{"a": "1"})
	equal(t, changed.MessageRetentionDuration, durationpb.New(time.Hour))
	equal(t, get(client.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: name}))(t), changed)
	topics := all(t, client.ListTopics(ctx, &pubsubpb.ListTopicsRequest{Project: parent, PageSize: 1}).Next)
	contains(t, names(topics, (*pubsubpb.Topic).GetName), name)
	subscription := newSubscription(t, name, nil)
	equal(t, all(t, client.ListTopicSubscriptions(ctx, &pubsubpb.ListTopicSubscriptionsRequest{Topic: name}).Next),
		[]string{subscription})
	equal(t, len(all(t, client.ListTopicSnapshots(ctx, &pubsubpb.ListTopicSnapshotsRequest{Topic: name}).Next)), 0)
	get(client.DetachSubscription(ctx, &pubsubpb.DetachSubscriptionRequest{Subscription: subscription}))(t)
	found := get(subscriptionsClient(t).GetSubscription(ctx, &pubsubpb.GetSubscriptionRequest{Subscription: subscription}))(t)
	equal(t, found.Detached, true)
	checkPolicy(t, client, name, "roles/pubsub.publisher", "pubsub.topics.publish")
	ok(t, client.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: name}))
	refused(t, failed(client.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: name})), codes.NotFound, "Resource not found")
	missing := &pubsubpb.PublishRequest{Topic: name, Messages: []*pubsubpb.PubsubMessage{text("x")}}
	refused(t, failed(client.Publish(ctx, missing)), codes.NotFound, "Resource not found")
	guest := get(admin.NewTopicAdminClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.Publish(ctx, missing)), codes.PermissionDenied, "User not authorized to perform this action")
}

func TestPubsubSubscriptions(t *testing.T) {
	client := subscriptionsClient(t)
	topic := newTopic(t, nil)
	name := newSubscription(t, topic, &pubsubpb.Subscription{
		AckDeadlineSeconds: 20,
		RetryPolicy:        &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(time.Second)},
	})
	ask := &pubsubpb.GetSubscriptionRequest{Subscription: name}
	made := get(client.GetSubscription(ctx, ask))(t)
	equal(t, []any{made.AckDeadlineSeconds, made.Topic, made.State}, []any{int32(20), topic, pubsubpb.Subscription_ACTIVE})
	equal(t, made.MessageRetentionDuration, durationpb.New(7*24*time.Hour))
	equal(t, made.RetryPolicy.MaximumBackoff, durationpb.New(600*time.Second))
	changed := get(client.UpdateSubscription(ctx, &pubsubpb.UpdateSubscriptionRequest{
		Subscription: &pubsubpb.Subscription{Name: name, AckDeadlineSeconds: 30, Filter: "x"},
		UpdateMask:   mask("ack_deadline_seconds"),
	}))(t)
	equal(t, []any{changed.AckDeadlineSeconds, changed.Filter}, []any{int32(30), ""})
	refused(t, failed(client.UpdateSubscription(ctx, &pubsubpb.UpdateSubscriptionRequest{
		Subscription: &pubsubpb.Subscription{Name: name, Filter: "x"}, UpdateMask: mask("filter"),
	})), codes.InvalidArgument, "filter")
	refused(t, failed(client.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: name + "-new", Topic: topic, Filter: "colour == 1",
	})), codes.InvalidArgument, "")
	refused(t, failed(client.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: name + "-new", Topic: topic + "x",
	})), codes.NotFound, "")
	listed := all(t, client.ListSubscriptions(ctx, &pubsubpb.ListSubscriptionsRequest{Project: parent, PageSize: 1}).Next)
	contains(t, names(listed, (*pubsubpb.Subscription).GetName), name)
	ok(t, client.ModifyPushConfig(ctx, &pubsubpb.ModifyPushConfigRequest{
		Subscription: name, PushConfig: &pubsubpb.PushConfig{PushEndpoint: "http://127.0.0.1:1/"},
	}))
	equal(t, get(client.GetSubscription(ctx, ask))(t).PushConfig.PushEndpoint, "http://127.0.0.1:1/")
	refused(t, failed(client.Pull(ctx, &pubsubpb.PullRequest{Subscription: name, MaxMessages: 1})), codes.FailedPrecondition,
		"This method is not supported for this subscription type.")
	service := get(pubsub.NewClient(ctx, project))(t)
	refused(t, service.Subscriber(name).Receive(ctx, func(context.Context, *pubsub.Message) {}), codes.FailedPrecondition,
		"This method is not supported for this subscription type.")
	checkPolicy(t, client, name, "roles/pubsub.subscriber", "pubsub.subscriptions.consume")
	ok(t, client.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: name}))
	refused(t, failed(client.GetSubscription(ctx, ask)), codes.NotFound, "Resource not found")
}

func TestPubsubPull(t *testing.T) {
	topic := newTopic(t, nil)
	client, name := subscriptionsClient(t), newSubscription(t, topic, nil)
	ids := publish(t, topic, text("one"), text("two"))
	found := pull(t, name)
	equal(t, names(found, func(each *pubsubpb.ReceivedMessage) string { return each.Message.MessageId }), ids)
	ok(t, client.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
		Subscription: name, AckIds: []string{found[0].AckId}, AckDeadlineSeconds: 0,
	}))
	acknowledge(t, name, found[1])
	again := pullOne(t, name)
	equal(t, data(again), "one")
	acknowledge(t, name, again)
	equal(t, len(pull(t, name)), 0)
	refused(t, client.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: name, AckIds: []string{"no id"}}),
		codes.InvalidArgument, "You have passed an invalid ack ID to the service (ack_id=no id).")
	refused(t, failed(topicsClient(t).Publish(ctx, &pubsubpb.PublishRequest{
		Topic: topic, Messages: []*pubsubpb.PubsubMessage{{}},
	})), codes.InvalidArgument, "")
}

func TestPubsubSeekAndSnapshots(t *testing.T) {
	topic := newTopic(t, nil)
	client := subscriptionsClient(t)
	name := newSubscription(t, topic, &pubsubpb.Subscription{RetainAckedMessages: true})
	publish(t, topic, text("one"))
	snapshot := get(client.CreateSnapshot(ctx, &pubsubpb.CreateSnapshotRequest{
		Name: parent + "/snapshots/" + fresh("go"), Subscription: name,
	}))(t)
	acknowledge(t, name, pullOne(t, name))
	equal(t, len(pull(t, name)), 0)
	get(client.Seek(ctx, &pubsubpb.SeekRequest{
		Subscription: name, Target: &pubsubpb.SeekRequest_Snapshot{Snapshot: snapshot.Name},
	}))(t)
	acknowledge(t, name, pullOne(t, name))
	seek := func(at time.Time) {
		get(client.Seek(ctx, &pubsubpb.SeekRequest{
			Subscription: name, Target: &pubsubpb.SeekRequest_Time{Time: timestamppb.New(at)},
		}))(t)
	}
	seek(time.Now().Add(-time.Hour))
	equal(t, data(pullOne(t, name)), "one")
	seek(time.Now().Add(time.Hour))
	equal(t, len(pull(t, name)), 0)

	changed := get(client.UpdateSnapshot(ctx, &pubsubpb.UpdateSnapshotRequest{
		Snapshot:   &pubsubpb.Snapshot{Name: snapshot.Name, Labels: map[string]string{"a": "1"}},
		UpdateMask: mask("labels"),
	}))(t)
	equal(t, []string{changed.Labels["a"], changed.Topic}, []string{"1", topic})
	ask := &pubsubpb.GetSnapshotRequest{Snapshot: snapshot.Name}
	equal(t, get(client.GetSnapshot(ctx, ask))(t), changed)
	listed := all(t, client.ListSnapshots(ctx, &pubsubpb.ListSnapshotsRequest{Project: parent}).Next)
	contains(t, names(listed, (*pubsubpb.Snapshot).GetName), snapshot.Name)
	equal(t, all(t, topicsClient(t).ListTopicSnapshots(ctx, &pubsubpb.ListTopicSnapshotsRequest{Topic: topic}).Next),
		[]string{snapshot.Name})
	ok(t, client.DeleteSnapshot(ctx, &pubsubpb.DeleteSnapshotRequest{Snapshot: snapshot.Name}))
	refused(t, failed(client.GetSnapshot(ctx, ask)), codes.NotFound, "Resource not found")
}

func TestPubsubReceivesFilteredMessagesInOrderExactlyOnce(t *testing.T) {
	t.Parallel()
	service := get(pubsub.NewClient(ctx, project))(t)
	topic := newTopic(t, nil)
	subscription := newSubscription(t, topic, &pubsubpb.Subscription{
		EnableMessageOrdering: true, Filter: `attributes.colour = "red"`, EnableExactlyOnceDelivery: true,
	})
	publisher := service.Publisher(topic)
	publisher.EnableMessageOrdering = true
	for number := range 20 {
		colour := []string{"red", "blue"}[number%2]
		publisher.Publish(ctx, &pubsub.Message{
			Data: fmt.Append(nil, number), Attributes: map[string]string{"colour": colour}, OrderingKey: "k",
		})
	}
	publisher.Stop()
	found, confirmed := []string{}, 0
	receiving, stop := context.WithTimeout(ctx, 30*time.Second)
	ok(t, service.Subscriber(subscription).Receive(receiving, func(ctx context.Context, message *pubsub.Message) {
		found = append(found, string(message.Data)+message.OrderingKey)
		if state, err := message.AckWithResult().Get(ctx); err == nil && state == pubsub.AcknowledgeStatusSuccess {
			confirmed++
		}
		if len(found) == 10 {
			stop()
		}
	}))
	equal(t, found, []string{"0k", "2k", "4k", "6k", "8k", "10k", "12k", "14k", "16k", "18k"})
	equal(t, confirmed, 10)
	missing := service.Subscriber(subscription+"-none").Receive(ctx, func(context.Context, *pubsub.Message) {})
	refused(t, missing, codes.NotFound, "Resource not found")
}

func TestPubsubOldClientReceivesAndReturns(t *testing.T) {
	t.Parallel()
	service := get(old.NewClient(ctx, project))(t)
	topic := get(service.CreateTopic(ctx, fresh("go")))(t)
	subscription := get(service.CreateSubscription(ctx, fresh("go"), old.SubscriptionConfig{Topic: topic}))(t)
	get(topic.Publish(ctx, &old.Message{Data: []byte("data")}).Get(ctx))(t)
	tries := 0
	receiving, stop := context.WithTimeout(ctx, 30*time.Second)
	ok(t, subscription.Receive(receiving, func(_ context.Context, message *old.Message) {
		if tries++; tries < 3 {
			message.Nack()
			return
		}
		message.Ack()
		stop()
	}))
	equal(t, tries, 3)
	config := get(subscription.Update(ctx, old.SubscriptionConfigToUpdate{AckDeadline: time.Minute}))(t)
	equal(t, config.AckDeadline, time.Minute)
	ok(t, subscription.Delete(ctx))
	ok(t, topic.Delete(ctx))
	equal(t, get(topic.Exists(ctx))(t), false)
}

func TestPubsubDeadLetters(t *testing.T) {
	t.Parallel()
	topic, dead := newTopic(t, nil), newTopic(t, nil)
	number := get(projectsClient(t).GetProject(ctx, projectRequest()))(t).Name[len("projects/"):]
	own := "serviceAccount:service-" + number + "@gcp-sa-pubsub.iam.gserviceaccount.com"
	grantTopic(t, dead, "roles/pubsub.publisher", own)
	name := newSubscription(t, topic, &pubsubpb.Subscription{
		DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: dead, MaxDeliveryAttempts: 5},
	})
	service := get(old.NewClient(ctx, project))(t)
	handle := service.Subscription(name[len(parent+"/subscriptions/"):]).IAM()
	policy := get(handle.Policy(ctx))(t)
	policy.Add(own, "roles/pubsub.subscriber")
	ok(t, handle.SetPolicy(ctx, policy))
	grave := newSubscription(t, dead, nil)
	publish(t, topic, text("poison"))
	for attempt := range int32(5) {
		message := pullOne(t, name)
		equal(t, message.DeliveryAttempt, attempt+1)
		ok(t, subscriptionsClient(t).ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{
			Subscription: name, AckIds: []string{message.AckId},
		}))
	}
	buried := pullOne(t, grave).Message
	equal(t, string(buried.Data), "poison")
	equal(t, buried.Attributes["CloudPubSubDeadLetterSourceDeliveryCount"], "5")
	equal(t, buried.Attributes["CloudPubSubDeadLetterSourceSubscription"], name[len(parent+"/subscriptions/"):])
}

func TestPubsubPushesWithToken(t *testing.T) {
	t.Parallel()
	var got sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		payload, err := idtoken.Validate(ctx, r.Header.Get("Authorization")[len("Bearer "):], "mine")
		if err == nil {
			got.Store("email", payload.Claims["email"])
			got.Store("body", string(body))
			got.Store("k", r.Header.Get("k"))
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	topic := newTopic(t, nil)
	newSubscription(t, topic, &pubsubpb.Subscription{PushConfig: &pubsubpb.PushConfig{
		PushEndpoint: server.URL,
		AuthenticationMethod: &pubsubpb.PushConfig_OidcToken_{OidcToken: &pubsubpb.PushConfig_OidcToken{
			ServiceAccountEmail: email("tasks"), Audience: "mine",
		}},
		Wrapper: &pubsubpb.PushConfig_NoWrapper_{NoWrapper: &pubsubpb.PushConfig_NoWrapper{WriteMetadata: true}},
	}})
	publish(t, topic, &pubsubpb.PubsubMessage{Data: []byte("pushed"), Attributes: map[string]string{"k": "v"}})
	until(t, func() bool { _, found := got.Load("k"); return found })
	for name, want := range map[string]any{"email": email("tasks"), "body": "pushed", "k": "v"} {
		value, _ := got.Load(name)
		equal(t, value, want)
	}
}

const (
	firstSchema  = `{"type": "record", "name": "Run", "fields": [{"name": "id", "type": "string"}]}`
	secondSchema = `{"type": "record", "name": "Run", "fields": [{"name": "id", "type": "string"}, {"name": "size", "type": "int", "default": 0}]}`
)

func TestPubsubSchemas(t *testing.T) {
	client := get(admin.NewSchemaClient(ctx))(t)
	id := fresh("go")
	avro := func(definition string) *pubsubpb.Schema {
		return &pubsubpb.Schema{Name: parent + "/schemas/" + id, Type: pubsubpb.Schema_AVRO, Definition: definition}
	}
	create := &pubsubpb.CreateSchemaRequest{Parent: parent, SchemaId: id, Schema: avro(firstSchema)}
	made := get(client.CreateSchema(ctx, create))(t)
	refused(t, failed(client.CreateSchema(ctx, create)), codes.AlreadyExists, "")
	topic := newTopic(t, &pubsubpb.Topic{SchemaSettings: &pubsubpb.SchemaSettings{
		Schema: made.Name, Encoding: pubsubpb.Encoding_JSON,
	}})
	publish(t, topic, text(`{"id": "1"}`))
	refused(t, failed(topicsClient(t).Publish(ctx, &pubsubpb.PublishRequest{
		Topic: topic, Messages: []*pubsubpb.PubsubMessage{text(`{"size": 1}`)},
	})), codes.InvalidArgument, "")
	committed := get(client.CommitSchema(ctx, &pubsubpb.CommitSchemaRequest{Name: made.Name, Schema: avro(secondSchema)}))(t)
	equal(t, get(client.GetSchema(ctx, &pubsubpb.GetSchemaRequest{Name: made.Name, View: pubsubpb.SchemaView_FULL}))(t).Definition, secondSchema)
	back := get(client.RollbackSchema(ctx, &pubsubpb.RollbackSchemaRequest{Name: made.Name, RevisionId: made.RevisionId}))(t)
	equal(t, back.Definition, firstSchema)
	revisions := all(t, client.ListSchemaRevisions(ctx, &pubsubpb.ListSchemaRevisionsRequest{Name: made.Name}).Next)
	equal(t, names(revisions, (*pubsubpb.Schema).GetRevisionId), []string{back.RevisionId, committed.RevisionId, made.RevisionId})
	get(client.DeleteSchemaRevision(ctx, &pubsubpb.DeleteSchemaRevisionRequest{Name: made.Name + "@" + committed.RevisionId}))(t)
	refused(t, failed(client.GetSchema(ctx, &pubsubpb.GetSchemaRequest{Name: made.Name + "@" + committed.RevisionId})), codes.NotFound, "")
	listed := all(t, client.ListSchemas(ctx, &pubsubpb.ListSchemasRequest{Parent: parent}).Next)
	contains(t, names(listed, (*pubsubpb.Schema).GetName), made.Name)
	get(client.ValidateSchema(ctx, &pubsubpb.ValidateSchemaRequest{Parent: parent, Schema: avro(firstSchema)}))(t)
	refused(t, failed(client.ValidateSchema(ctx, &pubsubpb.ValidateSchemaRequest{
		Parent: parent, Schema: avro(`{"type": "record"}`),
	})), codes.InvalidArgument, "")
	message := &pubsubpb.ValidateMessageRequest{
		Parent: parent, SchemaSpec: &pubsubpb.ValidateMessageRequest_Name{Name: made.Name},
		Message: []byte(`{"id": "1"}`), Encoding: pubsubpb.Encoding_JSON,
	}
	get(client.ValidateMessage(ctx, message))(t)
	message.Message = []byte(`{"id": 1}`)
	refused(t, failed(client.ValidateMessage(ctx, message)), codes.InvalidArgument, "")
	ok(t, client.DeleteSchema(ctx, &pubsubpb.DeleteSchemaRequest{Name: made.Name}))
	refused(t, failed(client.GetSchema(ctx, &pubsubpb.GetSchemaRequest{Name: made.Name})), codes.NotFound, "")
}

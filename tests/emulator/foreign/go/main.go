// Google's Go clients as a program would use them: `clients COMMAND [ARGUMENT...]`.
//
// Each command prints one JSON value. Nothing here knows of an emulator: endpoints, identity and
// trust come from the environment.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"cloud.google.com/go/storage"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/idtoken"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type object = map[string]any

var (
	ctx     = context.Background()
	project = os.Getenv("GOOGLE_CLOUD_PROJECT")
	place   = "projects/" + project + "/locations/us-west1"
)

var commands = map[string]func([]string) any{
	"upload": upload, "large": large, "create-only": createOnly, "list": list, "change": change,
	"gzip": gzipped, "sign": sign, "bucket": bucket, "task": task, "queue": queue, "job": job,
	"identity": identity, "key-file": keyFile, "messages": messages,
	"manage": manage, "manage-tasks": manageTasks, "list-jobs": listJobs,
}

func main() {
	answer := commands[os.Args[1]](os.Args[2:])
	must(json.NewEncoder(os.Stdout).Encode(answer))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func get[T any](value T, err error) T {
	must(err)
	return value
}

func status(err error) int {
	var problem *googleapi.Error
	if errors.As(err, &problem) {
		return problem.Code
	}
	if errors.Is(err, storage.ErrObjectNotExist) {
		return http.StatusNotFound
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return -1
	}
	return 0
}

func client(options ...option.ClientOption) *storage.Client {
	return get(storage.NewClient(ctx, options...))
}

func write(target *storage.ObjectHandle, data []byte, chunk int) error {
	writer := target.NewWriter(ctx)
	writer.ChunkSize = chunk
	if _, err := writer.Write(data); err != nil {
		return err
	}
	return writer.Close()
}

func read(source *storage.ObjectHandle) []byte {
	reader := get(source.NewReader(ctx))
	defer reader.Close()
	return get(io.ReadAll(reader))
}

func upload(args []string) any {
	target := client().Bucket(args[0]).Object(args[1])
	writer := target.NewWriter(ctx)
	writer.ContentType = "text/plain"
	writer.Metadata = map[string]string{"run": "1"}
	get(writer.Write([]byte("hello")))
	must(writer.Close())
	found := get(target.Attrs(ctx))
	return object{
		"content": string(read(target)), "size": found.Size, "type": found.ContentType,
		"custom": found.Metadata,
	}
}

func large(args []string) any {
	data := make([]byte, 9<<20)
	get(rand.Read(data))
	target := client().Bucket(args[0]).Object(args[1])
	must(write(target, data, 1<<20))
	reader := get(target.NewRangeReader(ctx, 5, 4))
	part := get(io.ReadAll(reader))
	return object{
		"same": sha256.Sum256(read(target)) == sha256.Sum256(data),
		"part": bytes.Equal(part, data[5:9]),
	}
}

func createOnly(args []string) any {
	target := client().Bucket(args[0]).Object(args[1])
	fresh := target.If(storage.Conditions{DoesNotExist: true})
	must(write(fresh, []byte("first"), 0))
	second := status(write(fresh, []byte("second"), 0))
	return object{"second": second, "content": string(read(target))}
}

func names(bucket *storage.BucketHandle, query *storage.Query) ([]string, []string) {
	found, prefixes := []string{}, []string{}
	for objects := bucket.Objects(ctx, query); ; {
		attrs, err := objects.Next()
		if errors.Is(err, iterator.Done) {
			return found, prefixes
		}
		must(err)
		if attrs.Prefix != "" {
			prefixes = append(prefixes, attrs.Prefix)
		} else {
			found = append(found, attrs.Name)
		}
	}
}

func list(args []string) any {
	bucket, prefix := client().Bucket(args[0]), args[1]+"/"
	for _, name := range []string{"a.txt", "b.csv", "d/c.txt"} {
		must(write(bucket.Object(prefix+name), []byte(name), 0))
	}
	all, _ := names(bucket, &storage.Query{Prefix: prefix})
	glob, _ := names(bucket, &storage.Query{MatchGlob: prefix + "**.txt"})
	top, prefixes := names(bucket, &storage.Query{Prefix: prefix, Delimiter: "/"})
	versions, _ := names(bucket, &storage.Query{Prefix: prefix + "a", Versions: true})
	return object{
		"all": len(all), "glob": len(glob), "top": len(top), "prefixes": len(prefixes),
		"versions": len(versions),
	}
}

func change(args []string) any {
	bucket, name := client().Bucket(args[0]), args[1]
	source, copied := bucket.Object(name), bucket.Object(name+"-copy")
	must(write(source, []byte("one"), 0))
	update := storage.ObjectAttrsToUpdate{Metadata: map[string]string{"state": "new"}}
	get(source.Update(ctx, update))
	get(copied.CopierFrom(source).Run(ctx))
	moved := get(copied.Move(ctx, storage.MoveObjectDestination{Object: name + "-moved"}))
	both := bucket.Object(name + "-both")
	get(both.ComposerFrom(source, bucket.Object(name+"-moved")).Run(ctx))
	must(source.Delete(ctx))
	return object{
		"both": string(read(both)), "state": moved.Metadata["state"],
		"gone": status(source.Delete(ctx)),
	}
}

func gzipped(args []string) any {
	source := client().Bucket(args[0]).Object(args[1])
	plain := read(source)
	packed := read(source.ReadCompressed(true))
	return object{"plain": string(plain), "packed": len(packed)}
}

func sign(args []string) any {
	options := &storage.SignedURLOptions{Method: "GET", Expires: time.Now().Add(time.Minute)}
	options.Scheme = storage.SigningSchemeV4
	if args[2] == "v2" {
		options.Scheme = storage.SigningSchemeV2
	}
	bucket := client().Bucket(args[0])
	must(write(bucket.Object(args[1]), []byte("signed"), 0))
	return get(bucket.SignedURL(args[1], options))
}

func bucket(args []string) any {
	bucket := client().Bucket(args[0])
	must(bucket.Create(ctx, project, &storage.BucketAttrs{
		Location: "US", VersioningEnabled: true, Labels: map[string]string{"a": "1"},
	}))
	must(write(bucket.Object("kept"), []byte("1"), 0))
	must(write(bucket.Object("kept"), []byte("2"), 0))
	versions, _ := names(bucket, &storage.Query{Versions: true})
	update := storage.BucketAttrsToUpdate{
		RetentionPolicy: &storage.RetentionPolicy{RetentionPeriod: time.Hour},
	}
	found := get(bucket.Update(ctx, update))
	attrs := get(bucket.Object("kept").Attrs(ctx))
	held := status(bucket.Object("kept").Generation(attrs.Generation).Delete(ctx))
	return object{
		"versions": len(versions), "labels": found.Labels, "type": found.LocationType,
		"held": held, "retention": found.RetentionPolicy.RetentionPeriod.String(),
	}
}

func task(args []string) any {
	tasks := get(cloudtasks.NewClient(ctx))
	parent := place + "/queues/" + args[0]
	made := get(tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{
		Parent: parent,
		Task: &cloudtaskspb.Task{MessageType: &cloudtaskspb.Task_HttpRequest{
			HttpRequest: &cloudtaskspb.HttpRequest{Url: args[1], Body: []byte("hi")},
		}},
	}))
	return object{"mine": strings.HasPrefix(made.Name, parent+"/tasks/")}
}

func queue(args []string) any {
	tasks := get(cloudtasks.NewRESTClient(ctx))
	request := &cloudtaskspb.GetQueueRequest{Name: place + "/queues/" + args[0]}
	return get(tasks.GetQueue(ctx, request)).State.String()
}

func job(args []string) any {
	jobs, executions := get(run.NewJobsClient(ctx)), get(run.NewExecutionsClient(ctx))
	name := place + "/jobs/" + args[0]
	found := get(jobs.GetJob(ctx, &runpb.GetJobRequest{Name: name}))
	operation := get(jobs.RunJob(ctx, &runpb.RunJobRequest{Name: name}))
	execution := get(operation.Metadata()).Name
	state := get(executions.GetExecution(ctx, &runpb.GetExecutionRequest{Name: execution}))
	get(executions.CancelExecution(ctx, &runpb.CancelExecutionRequest{Name: execution}))
	return object{"job": found.Name == name, "execution": state.Name == execution}
}

func messages(args []string) any {
	service := get(pubsub.NewClient(ctx, project))
	topic := "projects/" + project + "/topics/" + args[0]
	subscription := "projects/" + project + "/subscriptions/" + args[0]
	get(service.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: topic}))
	get(service.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: subscription, Topic: topic, EnableMessageOrdering: true,
		Filter: `attributes.colour = "red"`, EnableExactlyOnceDelivery: true,
	}))
	publisher := service.Publisher(topic)
	publisher.EnableMessageOrdering = true
	for _, each := range [][2]string{{"one", "red"}, {"other", "blue"}, {"two", "red"}} {
		attributes := map[string]string{"colour": each[1]}
		get(publisher.Publish(ctx, &pubsub.Message{
			Data: []byte(each[0]), Attributes: attributes, OrderingKey: "k",
		}).Get(ctx))
	}
	publisher.Stop()
	found, confirmed := []string{}, 0
	receiving, stop := context.WithCancel(ctx)
	must(service.Subscriber(subscription).Receive(receiving, func(ctx context.Context, message *pubsub.Message) {
		found = append(found, string(message.Data)+" "+message.OrderingKey)
		if get(message.AckWithResult().Get(ctx)) == pubsub.AcknowledgeStatusSuccess {
			confirmed++
		}
		if len(found) == 2 {
			stop()
		}
	}))
	must(service.SubscriptionAdminClient.DeleteSubscription(ctx,
		&pubsubpb.DeleteSubscriptionRequest{Subscription: subscription}))
	must(service.TopicAdminClient.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: topic}))
	return object{"found": found, "confirmed": confirmed}
}

func identity(args []string) any {
	source := get(idtoken.NewTokenSource(ctx, args[0]))
	token := get(source.Token()).AccessToken
	payload := get(idtoken.Validate(ctx, token, args[0]))
	scope := "https://www.googleapis.com/auth/cloud-platform"
	access := get(get(google.DefaultTokenSource(ctx, scope)).Token())
	return object{"email": payload.Claims["email"], "access": access.Valid()}
}

func keyFile(args []string) any {
	option := option.WithAuthCredentialsFile(option.ServiceAccount, args[0])
	target := client(option).Bucket(args[1]).Object(args[2])
	must(write(target, []byte("by key"), 0))
	return string(read(target))
}

func manage(args []string) any {
	service := client()
	bucket := service.Bucket(args[0])
	target := bucket.Object(args[1])
	must(write(target, []byte("hello"), 0))
	copier := target.CopierFrom(target)
	copier.StorageClass = "NEARLINE"
	rewritten := get(copier.Run(ctx))
	tail := get(io.ReadAll(get(target.NewRangeReader(ctx, -3, -1))))
	public := target.ACL().Set(ctx, storage.AllUsers, storage.RoleReader)
	_, policy := bucket.IAM().Policy(ctx)
	_, missing := bucket.Object(args[1] + "-none").NewReader(ctx)
	buckets, all := []string{}, service.Buckets(ctx, project)
	for {
		attrs, err := all.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		must(err)
		buckets = append(buckets, attrs.Name)
	}
	account := get(service.ServiceAccount(ctx, project))
	return object{
		"class": rewritten.StorageClass, "tail": string(tail),
		"refused": status(public), "policy": status(policy), "missing": status(missing),
		"buckets": len(buckets) > 0, "account": strings.HasPrefix(account, "service-"),
	}
}

func manageTasks(args []string) any {
	tasks := get(cloudtasks.NewRESTClient(ctx))
	parent := place + "/queues/" + args[0]
	later := timestamppb.New(time.Now().Add(10 * time.Minute))
	made := get(tasks.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{
		Parent: parent,
		Task: &cloudtaskspb.Task{
			ScheduleTime: later,
			MessageType: &cloudtaskspb.Task_HttpRequest{
				HttpRequest: &cloudtaskspb.HttpRequest{Url: "http://127.0.0.1:1/"},
			},
		},
	}))
	listed := false
	all := tasks.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: parent})
	for {
		found, err := all.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		must(err)
		listed = listed || found.Name == made.Name
	}
	must(tasks.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: made.Name}))
	_, gone := tasks.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: made.Name})
	return object{"listed": listed, "gone": status(gone)}
}

func listJobs(args []string) any {
	jobs := get(run.NewJobsRESTClient(ctx))
	all := jobs.ListJobs(ctx, &runpb.ListJobsRequest{Parent: place})
	names := []string{}
	for {
		found, err := all.Next()
		if errors.Is(err, iterator.Done) {
			return names
		}
		must(err)
		names = append(names, found.Name[strings.LastIndex(found.Name, "/")+1:])
	}
}

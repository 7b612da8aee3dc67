package clients

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	scheduler "cloud.google.com/go/scheduler/apiv1"
	"cloud.google.com/go/scheduler/apiv1/schedulerpb"
	"google.golang.org/api/idtoken"
	"google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// traced is a trace that goes on: the services pass it as it is.
const traced = "00-cccccccccccccccccccccccccccccccc-dddddddddddddddd-01"

// heard is what an HTTP server was sent: method, body, headers and the account of the token.
type heard struct {
	body, account string
	header        http.Header
}

// target serves requests until the test ends; refusals are how many it answers with 503.
func target(t *testing.T, audience string, refusals int) (string, func() []heard) {
	t.Helper()
	var lock sync.Mutex
	found := []heard{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		each := heard{body: string(body), header: r.Header}
		if token := r.Header.Get("Authorization"); token != "" {
			if payload, err := idtoken.Validate(ctx, token[len("Bearer "):], audience); err == nil {
				each.account = payload.Claims["email"].(string)
			}
		}
		lock.Lock()
		defer lock.Unlock()
		found = append(found, each)
		if len(found) <= refusals {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []heard {
		lock.Lock()
		defer lock.Unlock()
		return found
	}
}

func newQueue(t *testing.T, client *cloudtasks.Client, state cloudtaskspb.Queue_State) string {
	t.Helper()
	queue := get(client.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{Parent: place, Queue: &cloudtaskspb.Queue{
		Name:        place + "/queues/" + fresh("go"),
		RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(100 * time.Millisecond)},
	}}))(t)
	if state == cloudtaskspb.Queue_PAUSED {
		get(client.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: queue.Name}))(t)
	}
	t.Cleanup(func() { client.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: queue.Name}) })
	return queue.Name
}

func httpTask(queue, url string) *cloudtaskspb.CreateTaskRequest {
	return &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: &cloudtaskspb.Task{
		MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{
			Url: url, Body: []byte("hi"), Headers: map[string]string{"X-Mine": "1", "traceparent": traced},
			AuthorizationHeader: &cloudtaskspb.HttpRequest_OidcToken{OidcToken: &cloudtaskspb.OidcToken{
				ServiceAccountEmail: email("tasks"), Audience: "mine",
			}},
		}},
	}}
}

func TestTasksAreDeliveredWithToken(t *testing.T) {
	t.Parallel()
	client := get(cloudtasks.NewClient(ctx))(t)
	queue := newQueue(t, client, cloudtaskspb.Queue_RUNNING)
	url, found := target(t, "mine", 1)
	task := get(client.CreateTask(ctx, httpTask(queue, url)))(t)
	until(t, func() bool { return len(found()) == 2 })
	first, second := found()[0], found()[1]
	equal(t, []string{first.body, first.account, first.header.Get("X-Mine"), first.header.Get("traceparent")},
		[]string{"hi", email("tasks"), "1", traced})
	header := func(each heard, name string) string { return each.header.Get("X-CloudTasks-" + name) }
	equal(t, []string{header(first, "TaskName"), header(first, "TaskRetryCount"), header(second, "TaskRetryCount"),
		header(second, "TaskExecutionCount"), header(second, "TaskPreviousResponse")},
		[]string{task.Name[len(queue+"/tasks/"):], "0", "1", "0", "503"})
	until(t, func() bool {
		_, err := client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: task.Name})
		return err != nil
	})
}

func TestTasksOfAPausedQueue(t *testing.T) {
	client := get(cloudtasks.NewClient(ctx))(t)
	byRest := get(cloudtasks.NewRESTClient(ctx))(t)
	queue := newQueue(t, client, cloudtaskspb.Queue_PAUSED)
	url, found := target(t, "mine", 0)
	request := httpTask(queue, url)
	request.Task.Name = queue + "/tasks/mine"
	task := get(client.CreateTask(ctx, request))(t)
	refused(t, failed(byRest.CreateTask(ctx, request)), codes.AlreadyExists, "already exists")
	basic := get(byRest.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: task.Name}))(t)
	equal(t, basic, task)
	equal(t, len(basic.GetHttpRequest().Body), 0)
	full := get(client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: task.Name, ResponseView: cloudtaskspb.Task_FULL}))(t)
	equal(t, string(full.GetHttpRequest().Body), "hi")
	other := get(byRest.CreateTask(ctx, httpTask(queue, url)))(t)
	tasks := all(t, client.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: queue, PageSize: 1}).Next)
	contains(t, names(tasks, (*cloudtaskspb.Task).GetName), task.Name, other.Name)
	get(client.RunTask(ctx, &cloudtaskspb.RunTaskRequest{Name: task.Name}))(t)
	until(t, func() bool { return len(found()) == 1 })
	ok(t, byRest.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: other.Name}))
	_, err := client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: other.Name})
	refused(t, err, codes.NotFound, "")
	get(client.CreateTask(ctx, httpTask(queue, url)))(t)
	get(client.PurgeQueue(ctx, &cloudtaskspb.PurgeQueueRequest{Name: queue}))(t)
	until(t, func() bool {
		return len(all(t, client.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: queue}).Next)) == 0
	})
	late := httpTask(queue, url)
	late.Task.ScheduleTime = timestamppb.New(time.Now().Add(31 * 24 * time.Hour))
	refused(t, failed(client.CreateTask(ctx, late)), codes.InvalidArgument, "scheduleTime")
	guest := get(cloudtasks.NewClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.CreateTask(ctx, httpTask(queue, url))), codes.PermissionDenied, "cloudtasks.tasks.create")
}

func TestQueues(t *testing.T) {
	client := get(cloudtasks.NewClient(ctx))(t)
	byRest := get(cloudtasks.NewRESTClient(ctx))(t)
	name := newQueue(t, client, cloudtaskspb.Queue_RUNNING)
	made := get(byRest.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: name}))(t)
	equal(t, []any{made.RateLimits.MaxDispatchesPerSecond, made.RetryConfig.MaxAttempts, made.State},
		[]any{500.0, int32(100), cloudtaskspb.Queue_RUNNING})
	changed := get(client.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{
		Queue: &cloudtaskspb.Queue{
			Name: name, RateLimits: &cloudtaskspb.RateLimits{MaxConcurrentDispatches: 7},
			RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 3},
		},
		UpdateMask: mask("rate_limits.max_concurrent_dispatches"),
	}))(t)
	equal(t, []int32{changed.RateLimits.MaxConcurrentDispatches, changed.RetryConfig.MaxAttempts}, []int32{7, 100})
	paused := get(byRest.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: name}))(t)
	equal(t, paused.State, cloudtaskspb.Queue_PAUSED)
	resumed := get(client.ResumeQueue(ctx, &cloudtaskspb.ResumeQueueRequest{Name: name}))(t)
	equal(t, resumed.State, cloudtaskspb.Queue_RUNNING)
	queues := all(t, client.ListQueues(ctx, &cloudtaskspb.ListQueuesRequest{Parent: place, PageSize: 1}).Next)
	contains(t, names(queues, (*cloudtaskspb.Queue).GetName), name, place+"/queues/runs")
	_, err := client.CreateQueue(ctx, &cloudtaskspb.CreateQueueRequest{Parent: place, Queue: &cloudtaskspb.Queue{
		Name: name,
	}})
	refused(t, err, codes.AlreadyExists, "Queue already exists")
	checkPolicy(t, client, name, "roles/cloudtasks.enqueuer", "cloudtasks.tasks.create")
	ok(t, client.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: name}))
	refused(t, failed(client.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: name})), codes.NotFound, "")
	places := all(t, client.ListLocations(ctx, &location.ListLocationsRequest{Name: parent}).Next)
	equal(t, names(places, (*location.Location).GetLocationId), []string{region})
	equal(t, get(client.GetLocation(ctx, &location.GetLocationRequest{Name: place}))(t).Name, place)
}

func TestScheduler(t *testing.T) {
	t.Parallel()
	client := get(scheduler.NewCloudSchedulerClient(ctx))(t)
	byRest := get(scheduler.NewCloudSchedulerRESTClient(ctx))(t)
	url, found := target(t, "mine", 0)
	create := &schedulerpb.CreateJobRequest{Parent: place, Job: &schedulerpb.Job{
		Name: place + "/jobs/" + fresh("go"), Schedule: "0 4 * * *", TimeZone: "Europe/Berlin",
		Target: &schedulerpb.Job_HttpTarget{HttpTarget: &schedulerpb.HttpTarget{
			Uri: url, Body: []byte("tick"), Headers: map[string]string{"traceparent": traced},
			AuthorizationHeader: &schedulerpb.HttpTarget_OidcToken{OidcToken: &schedulerpb.OidcToken{
				ServiceAccountEmail: email("tasks"), Audience: "mine",
			}},
		}},
	}}
	made := get(client.CreateJob(ctx, create))(t)
	equal(t, []any{made.State, made.ScheduleTime.AsTime().After(time.Now())}, []any{schedulerpb.Job_ENABLED, true})
	refused(t, failed(byRest.CreateJob(ctx, create)), codes.AlreadyExists, "")
	get(client.PauseJob(ctx, &schedulerpb.PauseJobRequest{Name: made.Name}))(t)
	get(byRest.RunJob(ctx, &schedulerpb.RunJobRequest{Name: made.Name}))(t)
	until(t, func() bool { return len(found()) == 1 })
	header := found()[0].header
	equal(t, []string{found()[0].body, found()[0].account, header.Get("X-CloudScheduler-JobName"), header.Get("traceparent")},
		[]string{"tick", email("tasks"), made.Name[len(place+"/jobs/"):], traced})
	until(t, func() bool {
		return get(client.GetJob(ctx, &schedulerpb.GetJobRequest{Name: made.Name}))(t).LastAttemptTime != nil
	})
	equal(t, get(byRest.ResumeJob(ctx, &schedulerpb.ResumeJobRequest{Name: made.Name}))(t).State, schedulerpb.Job_ENABLED)
	changed := get(client.UpdateJob(ctx, &schedulerpb.UpdateJobRequest{
		Job:        &schedulerpb.Job{Name: made.Name, Schedule: "*/5 * * * *", Description: "not in the mask"},
		UpdateMask: mask("schedule"),
	}))(t)
	equal(t, []string{changed.Schedule, changed.TimeZone, changed.Description}, []string{"*/5 * * * *", "Europe/Berlin", ""})
	wrong := &schedulerpb.UpdateJobRequest{Job: &schedulerpb.Job{Name: made.Name, Schedule: "often"}, UpdateMask: mask("schedule")}
	refused(t, failed(client.UpdateJob(ctx, wrong)), codes.InvalidArgument, "")
	jobs := all(t, client.ListJobs(ctx, &schedulerpb.ListJobsRequest{Parent: place}).Next)
	contains(t, names(jobs, (*schedulerpb.Job).GetName), made.Name)
	guest := get(scheduler.NewCloudSchedulerClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.GetJob(ctx, &schedulerpb.GetJobRequest{Name: made.Name})), codes.PermissionDenied, "cloudscheduler.jobs.get")
	ok(t, client.DeleteJob(ctx, &schedulerpb.DeleteJobRequest{Name: made.Name}))
	refused(t, failed(client.GetJob(ctx, &schedulerpb.GetJobRequest{Name: made.Name})), codes.NotFound, "")
}

func TestSchedulerPublishes(t *testing.T) {
	client := get(scheduler.NewCloudSchedulerClient(ctx))(t)
	topic := newTopic(t, nil)
	subscription := newSubscription(t, topic, nil)
	job := get(client.CreateJob(ctx, &schedulerpb.CreateJobRequest{Parent: place, Job: &schedulerpb.Job{
		Name: place + "/jobs/" + fresh("go"), Schedule: "0 4 * * *",
		Target: &schedulerpb.Job_PubsubTarget{PubsubTarget: &schedulerpb.PubsubTarget{
			TopicName: topic, Data: []byte("tick"), Attributes: map[string]string{"k": "v"},
		}},
	}}))(t)
	get(client.RunJob(ctx, &schedulerpb.RunJobRequest{Name: job.Name}))(t)
	message := pullOne(t, subscription)
	equal(t, []string{data(message), message.Message.Attributes["k"]}, []string{"tick", "v"})
	ok(t, client.DeleteJob(ctx, &schedulerpb.DeleteJobRequest{Name: job.Name}))
}

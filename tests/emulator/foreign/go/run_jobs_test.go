package clients

import (
	"errors"
	"strings"
	"testing"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
)

const sleeper = "sleeper:1"

func jobOf(image string) *runpb.Job {
	return &runpb.Job{Template: &runpb.ExecutionTemplate{Template: &runpb.TaskTemplate{
		Containers:     []*runpb.Container{{Image: image}},
		ServiceAccount: email("validator-fmu"), Retries: &runpb.TaskTemplate_MaxRetries{MaxRetries: 0},
	}}}
}

func newJob(t *testing.T, jobs *run.JobsClient) *runpb.Job {
	t.Helper()
	operation := get(jobs.CreateJob(ctx, &runpb.CreateJobRequest{Parent: place, JobId: fresh("go"), Job: jobOf(sleeper)}))(t)
	return get(operation.Wait(ctx))(t)
}

func TestRunJobs(t *testing.T) {
	t.Parallel()
	jobs, byRest := get(run.NewJobsClient(ctx))(t), get(run.NewJobsRESTClient(ctx))(t)
	job := newJob(t, jobs)
	template := job.Template.Template
	equal(t, []any{job.Template.TaskCount, template.GetMaxRetries(), template.Timeout.Seconds, template.Containers[0].Resources.Limits["memory"]},
		[]any{int32(1), int32(0), int64(600), "512Mi"})
	again := &runpb.CreateJobRequest{Parent: place, JobId: job.Name[len(place+"/jobs/"):], Job: jobOf(sleeper)}
	refused(t, failed(byRest.CreateJob(ctx, again)), codes.AlreadyExists, "already exists")
	again.ValidateOnly, again.JobId = true, fresh("go")
	get(get(jobs.CreateJob(ctx, again))(t).Wait(ctx))(t)
	refused(t, failed(jobs.GetJob(ctx, &runpb.GetJobRequest{Name: place + "/jobs/" + again.JobId})), codes.NotFound,
		"of kind 'JOB' in region 'us-west1' in project '"+project+"' does not exist.")
	equal(t, get(byRest.GetJob(ctx, &runpb.GetJobRequest{Name: job.Name}))(t), job)
	job.Labels = map[string]string{"a": "1"}
	changed := get(get(byRest.UpdateJob(ctx, &runpb.UpdateJobRequest{Job: job}))(t).Wait(ctx))(t)
	equal(t, []any{changed.Labels["a"], changed.Generation}, []any{"1", int64(2)})
	refused(t, failed(jobs.UpdateJob(ctx, &runpb.UpdateJobRequest{Job: job})), codes.Aborted, "")
	found := all(t, jobs.ListJobs(ctx, &runpb.ListJobsRequest{Parent: place, PageSize: 2}).Next)
	contains(t, names(found, (*runpb.Job).GetName), job.Name, place+"/jobs/validibot-validator-fmu")
	checkPolicy(t, jobs, job.Name, "roles/run.invoker", "run.jobs.run")
	get(get(jobs.DeleteJob(ctx, &runpb.DeleteJobRequest{Name: job.Name}))(t).Wait(ctx))(t)
	refused(t, failed(jobs.GetJob(ctx, &runpb.GetJobRequest{Name: job.Name})), codes.NotFound, "")
	elsewhere := strings.Replace(again.Parent, region, "europe-west1", 1)
	_, err := jobs.ListJobs(ctx, &runpb.ListJobsRequest{Parent: elsewhere}).Next()
	refused(t, err, codes.Unimplemented, "Operation is not implemented, or supported, or enabled.")
	guest := get(run.NewJobsClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.RunJob(ctx, &runpb.RunJobRequest{Name: job.Name})), codes.PermissionDenied, "Permission 'run.jobs.run' denied")
}

func TestRunExecutions(t *testing.T) {
	t.Parallel()
	jobs, executions := get(run.NewJobsClient(ctx))(t), get(run.NewExecutionsClient(ctx))(t)
	tasks, byRest := get(run.NewTasksClient(ctx))(t), get(run.NewExecutionsRESTClient(ctx))(t)
	job := newJob(t, jobs)
	operation := get(jobs.RunJob(ctx, &runpb.RunJobRequest{Name: job.Name, Overrides: &runpb.RunJobRequest_Overrides{
		TaskCount: 2, ContainerOverrides: []*runpb.RunJobRequest_Overrides_ContainerOverride{{
			Env: []*runpb.EnvVar{{Name: "A", Values: &runpb.EnvVar_Value{Value: "1"}}},
		}},
	}}))(t)
	name := get(operation.Metadata())(t).Name
	ask := &runpb.GetExecutionRequest{Name: name}
	until(t, func() bool { return get(executions.GetExecution(ctx, ask))(t).RunningCount == 2 })
	running := get(byRest.GetExecution(ctx, ask))(t)
	equal(t, []any{running.TaskCount, running.Template.Containers[0].Env[0].Name, strings.HasPrefix(name, job.Name+"/executions/")},
		[]any{int32(2), "A", true})
	found := all(t, tasks.ListTasks(ctx, &runpb.ListTasksRequest{Parent: name, PageSize: 1}).Next)
	equal(t, len(found), 2)
	equal(t, get(tasks.GetTask(ctx, &runpb.GetTaskRequest{Name: found[0].Name}))(t).Execution, lastPart(name))

	pending := get(jobs.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: operation.Name()}))(t)
	equal(t, pending.Done, false)
	get(executions.CancelExecution(ctx, &runpb.CancelExecutionRequest{Name: name}))(t)
	ended := get(operation.Wait(ctx))(t)
	equal(t, []any{ended.CancelledCount, ended.Conditions[0].Message}, []any{int32(2), "Cancelled by user."})
	_, err := byRest.CancelExecution(ctx, &runpb.CancelExecutionRequest{Name: name})
	refused(t, err, codes.FailedPrecondition, "cannot be cancelled because it is not running")
	listed := all(t, executions.ListExecutions(ctx, &runpb.ListExecutionsRequest{Parent: job.Name}).Next)
	equal(t, names(listed, (*runpb.Execution).GetName), []string{name})
	operations := jobs.ListOperations(ctx, &longrunningpb.ListOperationsRequest{Name: place})
	contains(t, names(all(t, operations.Next), (*longrunningpb.Operation).GetName), operation.Name())
	waited := get(jobs.WaitOperation(ctx, &longrunningpb.WaitOperationRequest{Name: operation.Name()}))(t)
	equal(t, waited.Done, true)
	ok(t, jobs.DeleteOperation(ctx, &longrunningpb.DeleteOperationRequest{Name: operation.Name()}))
	get(get(executions.DeleteExecution(ctx, &runpb.DeleteExecutionRequest{Name: name}))(t).Wait(ctx))(t)
	_, err = executions.ListExecutions(ctx, &runpb.ListExecutionsRequest{Parent: job.Name}).Next()
	equal(t, errors.Is(err, iterator.Done), true)
	get(get(jobs.DeleteJob(ctx, &runpb.DeleteJobRequest{Name: job.Name}))(t).Wait(ctx))(t)
}

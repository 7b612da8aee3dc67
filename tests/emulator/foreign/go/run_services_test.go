package clients

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"google.golang.org/api/idtoken"
	"google.golang.org/grpc/codes"
)

const echo = "echo-server:1"

func serviceOf(greeting string) *runpb.Service {
	return &runpb.Service{Template: &runpb.RevisionTemplate{
		ServiceAccount: email("web"),
		Containers: []*runpb.Container{{
			Image: echo, Env: []*runpb.EnvVar{{Name: "GREETING", Values: &runpb.EnvVar_Value{Value: greeting}}},
		}},
	}}
}

func fetch(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	answer := get(client.Get(url))(t)
	defer answer.Body.Close()
	return answer.StatusCode, string(get(io.ReadAll(answer.Body))(t))
}

func TestRunServices(t *testing.T) {
	t.Parallel()
	services, byRest := get(run.NewServicesClient(ctx))(t), get(run.NewServicesRESTClient(ctx))(t)
	revisions := get(run.NewRevisionsClient(ctx))(t)
	id := fresh("go")
	made := get(get(services.CreateService(ctx, &runpb.CreateServiceRequest{
		Parent: place, ServiceId: id, Service: serviceOf("one"),
	}))(t).Wait(ctx))(t)
	equal(t, []any{made.TerminalCondition.State, made.Traffic[0].Percent, strings.HasSuffix(made.Uri, ".run.app")},
		[]any{runpb.Condition_CONDITION_SUCCEEDED, int32(100), true})
	refused(t, failed(byRest.CreateService(ctx, &runpb.CreateServiceRequest{Parent: place, ServiceId: id, Service: serviceOf("one")})),
		codes.AlreadyExists, "already exists")

	code, _ := fetch(t, http.DefaultClient, made.Uri)
	equal(t, code, 403)
	allowed := get(idtoken.NewClient(ctx, made.Uri))(t)
	allowed.Timeout = 30 * time.Second
	code, _ = fetch(t, allowed, made.Uri)
	equal(t, code, 200)
	_, text := fetch(t, allowed, made.Uri+"/whoami")
	equal(t, text, email("web"))

	equal(t, get(services.GetService(ctx, &runpb.GetServiceRequest{Name: made.Name}))(t), made)
	change := serviceOf("two")
	change.Name = made.Name
	changed := get(get(byRest.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: change, UpdateMask: mask("template")}))(t).Wait(ctx))(t)
	_, text = fetch(t, allowed, made.Uri+"/env")
	equal(t, strings.Contains(text, `"GREETING": "two"`), true)
	found := all(t, revisions.ListRevisions(ctx, &runpb.ListRevisionsRequest{Parent: made.Name, PageSize: 1}).Next)
	equal(t, sorted(names(found, (*runpb.Revision).GetName)), sorted([]string{made.LatestReadyRevision, changed.LatestReadyRevision}))
	equal(t, get(revisions.GetRevision(ctx, &runpb.GetRevisionRequest{Name: made.LatestReadyRevision}))(t).Containers[0].Env[0].GetValue(), "one")
	refused(t, failed(revisions.DeleteRevision(ctx, &runpb.DeleteRevisionRequest{Name: changed.LatestReadyRevision})), codes.FailedPrecondition, "")
	get(get(revisions.DeleteRevision(ctx, &runpb.DeleteRevisionRequest{Name: made.LatestReadyRevision}))(t).Wait(ctx))(t)
	refused(t, failed(revisions.GetRevision(ctx, &runpb.GetRevisionRequest{Name: made.LatestReadyRevision})), codes.NotFound, "does not exist")

	change.Traffic = []*runpb.TrafficTarget{{
		Type: runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION, Revision: "none", Percent: 100,
	}}
	refused(t, failed(services.UpdateService(ctx, &runpb.UpdateServiceRequest{Service: change, UpdateMask: mask("traffic")})),
		codes.InvalidArgument, "")
	listed := all(t, services.ListServices(ctx, &runpb.ListServicesRequest{Parent: place, PageSize: 1}).Next)
	contains(t, names(listed, (*runpb.Service).GetName), made.Name, place+"/services/validibot-web")
	checkPolicy(t, services, made.Name, "roles/run.invoker", "run.routes.invoke")
	get(get(services.DeleteService(ctx, &runpb.DeleteServiceRequest{Name: made.Name}))(t).Wait(ctx))(t)
	refused(t, failed(services.GetService(ctx, &runpb.GetServiceRequest{Name: made.Name})), codes.NotFound, "does not exist")
	guest := get(run.NewServicesClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.GetService(ctx, &runpb.GetServiceRequest{Name: made.Name})), codes.PermissionDenied, "run.services.get")
}

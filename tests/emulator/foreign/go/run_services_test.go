package clients

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/logadmin"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
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
	request := get(http.NewRequest("GET", made.Uri+"/headers", nil))(t)
	request.Header.Set("traceparent", traced)
	answer := get(allowed.Do(request))(t)
	text = string(get(io.ReadAll(answer.Body))(t))
	answer.Body.Close()
	equal(t, strings.Contains(text, `"traceparent": "`+traced+`"`), true)

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

func TestRunServicesReadSecretsSplitTrafficAndLog(t *testing.T) {
	t.Parallel()
	services := get(run.NewServicesClient(ctx))(t)
	vault := secrets{get(secretmanager.NewClient(ctx))(t), t}
	secret := vault.create(fresh("go"))
	defer vault.DeleteSecret(ctx, &secretmanagerpb.DeleteSecretRequest{Name: secret.Name})
	vault.add(secret.Name, "from the vault")
	id := fresh("go")
	wanted := serviceOf("one")
	wanted.InvokerIamDisabled = true
	container := wanted.Template.Containers[0]
	container.Env = append(container.Env, &runpb.EnvVar{Name: "SECRET", Values: &runpb.EnvVar_ValueSource{
		ValueSource: &runpb.EnvVarSource{SecretKeyRef: &runpb.SecretKeySelector{Secret: secret.Name, Version: "latest"}},
	}}, &runpb.EnvVar{Name: "FILE", Values: &runpb.EnvVar_Value{Value: "/told/here"}})
	container.VolumeMounts = []*runpb.VolumeMount{{Name: "told", MountPath: "/told"}}
	wanted.Template.Volumes = []*runpb.Volume{{Name: "told", VolumeType: &runpb.Volume_Secret{Secret: &runpb.SecretVolumeSource{
		Secret: secret.Name, Items: []*runpb.VersionToPath{{Path: "here", Version: "latest"}},
	}}}}
	create := func() (*runpb.Service, error) {
		request := &runpb.CreateServiceRequest{Parent: place, ServiceId: id, Service: wanted}
		return get(services.CreateService(ctx, request))(t).Wait(ctx)
	}
	remove := func() {
		get(get(services.DeleteService(ctx, &runpb.DeleteServiceRequest{Name: place + "/services/" + id}))(t).Wait(ctx))(t)
	}
	if err := failed(create()); err == nil || !strings.Contains(err.Error(), "Permission denied on secret: ") {
		t.Errorf("a service without the right to its secret ended with %v", err)
	}
	remove()
	rights := get(vault.IAM(secret.Name).Policy(ctx))(t)
	rights.Add(member("web"), "roles/secretmanager.secretAccessor")
	ok(t, vault.IAM(secret.Name).SetPolicy(ctx, rights))
	id = fresh("go")
	made := get(create())(t)
	defer remove()
	_, text := fetch(t, http.DefaultClient, made.Uri+"/env")
	equal(t, strings.Contains(text, `"SECRET": "from the vault"`), true)
	_, text = fetch(t, http.DefaultClient, made.Uri+"/file?of=FILE")
	equal(t, text, "from the vault")

	latest := runpb.TrafficTargetAllocationType_TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
	tagged := &runpb.Service{Name: made.Name, Traffic: []*runpb.TrafficTarget{{Type: latest, Percent: 100, Tag: "blue"}}}
	update := &runpb.UpdateServiceRequest{Service: tagged, UpdateMask: mask("traffic")}
	changed := get(get(services.UpdateService(ctx, update))(t).Wait(ctx))(t)
	equal(t, strings.HasPrefix(changed.TrafficStatuses[0].Uri, "https://blue---"+id), true)
	code, _ := fetch(t, http.DefaultClient, changed.TrafficStatuses[0].Uri)
	equal(t, code, 200)
	admin := get(logadmin.NewClient(ctx, project))(t)
	until(t, func() bool {
		entries := all(t, admin.Entries(ctx, logadmin.Filter(
			`resource.type="cloud_run_revision" resource.labels.service_name="`+id+`" "GET /env"`)).Next)
		return len(entries) > 0 && entries[0].Resource.Labels["revision_name"] == lastPart(made.LatestReadyRevision)
	})
}

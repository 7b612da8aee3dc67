package clients

import (
	"testing"

	"google.golang.org/api/option"
	"google.golang.org/api/run/v1"
	"google.golang.org/grpc/codes"
)

func runV1(t *testing.T) *run.NamespacesService {
	t.Helper()
	regional := option.WithEndpoint("https://us-west1-run.googleapis.com/")
	return get(run.NewService(ctx, regional))(t).Namespaces
}

func TestRunV1Services(t *testing.T) {
	t.Parallel()
	api, namespace, id := runV1(t), "namespaces/"+project, fresh("go")
	name := namespace + "/services/" + id
	wanted := &run.Service{
		ApiVersion: "serving.knative.dev/v1", Kind: "Service", Metadata: &run.ObjectMeta{Name: id, Namespace: project},
		Spec: &run.ServiceSpec{Template: &run.RevisionTemplate{Spec: &run.RevisionSpec{
			ContainerConcurrency: 7, ServiceAccountName: email("web"), Containers: []*run.Container{{Image: echo}},
		}}},
	}
	get(api.Services.Create(namespace, wanted).Do())(t)
	refused(t, failed(api.Services.Create(namespace, wanted).Do()), codes.AlreadyExists, "")
	var found *run.Service
	until(t, func() bool {
		found = get(api.Services.Get(name).Do())(t)
		return found.Status.Conditions[0].Status == "True"
	})
	equal(t, found.Spec.Template.Spec.ContainerConcurrency, int64(7))
	latest := found.Status.LatestReadyRevisionName
	checkParts(t, api, namespace, id, latest)
	found.Spec.Template.Spec.ContainerConcurrency = 8
	found.Spec.Template.Metadata.Name = id + "-second"
	get(api.Services.ReplaceService(name, found).Do())(t)
	refused(t, failed(api.Services.ReplaceService(name, found).Do()), codes.Aborted, "")
	until(t, func() bool { return get(api.Services.Get(name).Do())(t).Status.LatestReadyRevisionName == id+"-second" })
	get(api.Revisions.Delete(namespace + "/revisions/" + latest).Do())(t)
	checkDomains(t, api, namespace, id)
	get(api.Services.Delete(name).Do())(t)
	until(t, func() bool { return failed(api.Services.Get(name).Do()) != nil })
	refused(t, failed(api.Services.Get(name).Do()), codes.NotFound, "")
}

// checkParts reads the configuration, the route and the revision of a service.
func checkParts(t *testing.T, api *run.NamespacesService, namespace, id, latest string) {
	t.Helper()
	for kind, item := range map[string]func() (string, error){
		"revision": func() (string, error) {
			revision, err := api.Revisions.Get(namespace + "/revisions/" + latest).Do()
			return revision.Metadata.Name, err
		},
		"configuration": func() (string, error) {
			configuration, err := api.Configurations.Get(namespace + "/configurations/" + id).Do()
			return configuration.Status.LatestReadyRevisionName, err
		},
		"route": func() (string, error) {
			route, err := api.Routes.Get(namespace + "/routes/" + id).Do()
			return route.Status.Traffic[0].RevisionName, err
		},
	} {
		if got := get(item())(t); got != latest {
			t.Errorf("the %s names %s, want %s", kind, got, latest)
		}
	}
	services := get(api.Services.List(namespace).Do())(t).Items
	contains(t, names(services, func(each *run.Service) string { return each.Metadata.Name }), id)
	revisions := get(api.Revisions.List(namespace).LabelSelector("serving.knative.dev/service=" + id).Do())(t).Items
	equal(t, names(revisions, func(each *run.Revision) string { return each.Metadata.Name }), []string{latest})
	contains(t, names(get(api.Configurations.List(namespace).Do())(t).Items,
		func(each *run.Configuration) string { return each.Metadata.Name }), id)
	contains(t, names(get(api.Routes.List(namespace).Do())(t).Items,
		func(each *run.Route) string { return each.Metadata.Name }), id)
}

func checkDomains(t *testing.T, api *run.NamespacesService, namespace, service string) {
	t.Helper()
	domains := get(api.Authorizeddomains.List(namespace).Do())(t).Domains
	equal(t, names(domains, func(each *run.AuthorizedDomain) string { return each.Id }), []string{"example.com"})
	domain := fresh("go") + ".example.com"
	get(api.Domainmappings.Create(namespace, &run.DomainMapping{
		ApiVersion: "domains.cloudrun.com/v1", Kind: "DomainMapping",
		Metadata: &run.ObjectMeta{Name: domain, Namespace: project}, Spec: &run.DomainMappingSpec{RouteName: service},
	}).Do())(t)
	name := namespace + "/domainmappings/" + domain
	found := get(api.Domainmappings.Get(name).Do())(t)
	equal(t, []string{found.Spec.RouteName, found.Status.ResourceRecords[0].Rrdata}, []string{service, "ghs.googlehosted.com."})
	contains(t, names(get(api.Domainmappings.List(namespace).Do())(t).Items,
		func(each *run.DomainMapping) string { return each.Metadata.Name }), domain)
	get(api.Domainmappings.Delete(name).Do())(t)
	refused(t, failed(api.Domainmappings.Get(name).Do()), codes.NotFound, "")
}

func TestRunV1Jobs(t *testing.T) {
	t.Parallel()
	api, namespace, id := runV1(t), "namespaces/"+project, fresh("go")
	name := namespace + "/jobs/" + id
	wanted := &run.Job{
		ApiVersion: "run.googleapis.com/v1", Kind: "Job", Metadata: &run.ObjectMeta{Name: id, Namespace: project},
		Spec: &run.JobSpec{Template: &run.ExecutionTemplateSpec{Spec: &run.ExecutionSpec{
			TaskCount: 1, Template: &run.TaskTemplateSpec{Spec: &run.TaskSpec{
				Containers: []*run.Container{{Image: sleeper}}, ServiceAccountName: email("validator-fmu"), TimeoutSeconds: 30,
			}},
		}}},
	}
	get(api.Jobs.Create(namespace, wanted).Do())(t)
	found := get(api.Jobs.Get(name).Do())(t)
	equal(t, found.Spec.Template.Spec.Template.Spec.TimeoutSeconds, int64(30))
	found.Spec.Template.Spec.Template.Spec.TimeoutSeconds = 60
	get(api.Jobs.ReplaceJob(name, found).Do())(t)
	equal(t, get(api.Jobs.Get(name).Do())(t).Spec.Template.Spec.Template.Spec.TimeoutSeconds, int64(60))
	jobs := get(api.Jobs.List(namespace).Do())(t).Items
	contains(t, names(jobs, func(each *run.Job) string { return each.Metadata.Name }), id)

	execution := get(api.Jobs.Run(name, &run.RunJobRequest{}).Do())(t).Metadata.Name
	running := namespace + "/executions/" + execution
	until(t, func() bool { return get(api.Executions.Get(running).Do())(t).Status.RunningCount == 1 })
	executions := get(api.Executions.List(namespace).LabelSelector("run.googleapis.com/job=" + id).Do())(t).Items
	equal(t, names(executions, func(each *run.Execution) string { return each.Metadata.Name }), []string{execution})
	tasks := get(api.Tasks.List(namespace).LabelSelector("run.googleapis.com/execution=" + execution).Do())(t).Items
	equal(t, len(tasks), 1)
	task := get(api.Tasks.Get(namespace + "/tasks/" + tasks[0].Metadata.Name).Do())(t)
	equal(t, task.Spec.Containers[0].Image, tasks[0].Spec.Containers[0].Image)
	get(api.Executions.Cancel(running, &run.CancelExecutionRequest{}).Do())(t)
	until(t, func() bool { return get(api.Executions.Get(running).Do())(t).Status.CancelledCount == 1 })
	get(api.Executions.Delete(running).Do())(t)
	refused(t, failed(api.Executions.Get(running).Do()), codes.NotFound, "")
	get(api.Jobs.Delete(name).Do())(t)
	refused(t, failed(api.Jobs.Get(name).Do()), codes.NotFound, "")
}

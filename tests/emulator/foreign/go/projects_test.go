package clients

import (
	"testing"

	resourcemanager "cloud.google.com/go/resourcemanager/apiv3"
	"cloud.google.com/go/resourcemanager/apiv3/resourcemanagerpb"
	serviceusage "cloud.google.com/go/serviceusage/apiv1"
	"cloud.google.com/go/serviceusage/apiv1/serviceusagepb"
	oldmanager "google.golang.org/api/cloudresourcemanager/v1"
	"google.golang.org/grpc/codes"
)

func projectsClient(t *testing.T) *resourcemanager.ProjectsClient {
	t.Helper()
	return get(resourcemanager.NewProjectsClient(ctx))(t)
}

func projectRequest() *resourcemanagerpb.GetProjectRequest {
	return &resourcemanagerpb.GetProjectRequest{Name: parent}
}

func TestProjects(t *testing.T) {
	client := projectsClient(t)
	found := get(client.GetProject(ctx, projectRequest()))(t)
	equal(t, []any{found.ProjectId, found.State}, []any{project, resourcemanagerpb.Project_ACTIVE})
	_, err := client.GetProject(ctx, &resourcemanagerpb.GetProjectRequest{Name: "projects/somebody-elses"})
	refused(t, err, codes.PermissionDenied, "")
	search := client.SearchProjects(ctx, &resourcemanagerpb.SearchProjectsRequest{Query: "id:" + project})
	equal(t, names(all(t, search.Next), (*resourcemanagerpb.Project).GetProjectId), []string{project})
	none := client.SearchProjects(ctx, &resourcemanagerpb.SearchProjectsRequest{Query: "id:other"})
	equal(t, len(all(t, none.Next)), 0)
	_, err = client.ListProjects(ctx, &resourcemanagerpb.ListProjectsRequest{Parent: "organizations/1"}).Next()
	refused(t, err, codes.PermissionDenied, "The caller does not have permission")
	_, err = client.ListProjects(ctx, &resourcemanagerpb.ListProjectsRequest{Parent: "x"}).Next()
	refused(t, err, codes.InvalidArgument, "parent")
	checkPolicy(t, client, parent, "roles/run.viewer", "resourcemanager.projects.setIamPolicy")
	guest := get(resourcemanager.NewProjectsClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.GetProject(ctx, projectRequest())), codes.PermissionDenied, "resourcemanager.projects.get")
	byRest := get(resourcemanager.NewProjectsRESTClient(ctx))(t)
	equal(t, get(byRest.GetProject(ctx, projectRequest()))(t), found)
}

func TestProjectsByVersion1(t *testing.T) {
	service := get(oldmanager.NewService(ctx))(t)
	found := get(service.Projects.Get(project).Do())(t)
	equal(t, []string{found.ProjectId, found.LifecycleState}, []string{project, "ACTIVE"})
	listed := get(service.Projects.List().Filter("projectId:" + project).Do())(t)
	equal(t, names(listed.Projects, func(each *oldmanager.Project) string { return each.ProjectId }), []string{project})
	policy := get(service.Projects.GetIamPolicy(project, &oldmanager.GetIamPolicyRequest{}).Do())(t)
	roles := names(policy.Bindings, func(each *oldmanager.Binding) string { return each.Role })
	contains(t, roles, "roles/resourcemanager.projectIamAdmin")
	asked := []string{"resourcemanager.projects.get"}
	tested := get(service.Projects.TestIamPermissions(project, &oldmanager.TestIamPermissionsRequest{Permissions: asked}).Do())(t)
	equal(t, tested.Permissions, asked)
	refused(t, failed(service.Projects.Get("somebody-elses").Do()), codes.PermissionDenied, ", forbidden")
}

func TestServiceUsage(t *testing.T) {
	client := get(serviceusage.NewClient(ctx))(t)
	name := parent + "/services/artifactregistry.googleapis.com"
	disabling := get(client.DisableService(ctx, &serviceusagepb.DisableServiceRequest{Name: name}))(t)
	equal(t, get(disabling.Wait(ctx))(t).Service.State, serviceusagepb.State_DISABLED)
	get(get(client.EnableService(ctx, &serviceusagepb.EnableServiceRequest{Name: name}))(t).Wait(ctx))(t)
	equal(t, get(client.GetService(ctx, &serviceusagepb.GetServiceRequest{Name: name}))(t).State, serviceusagepb.State_ENABLED)
	enabled := all(t, client.ListServices(ctx, &serviceusagepb.ListServicesRequest{
		Parent: parent, Filter: "state:ENABLED", PageSize: 5,
	}).Next)
	contains(t, names(enabled, func(each *serviceusagepb.Service) string { return lastPart(each.Name) }),
		"run.googleapis.com", "artifactregistry.googleapis.com")
	both := get(client.BatchGetServices(ctx, &serviceusagepb.BatchGetServicesRequest{
		Parent: parent, Names: []string{name, parent + "/services/run.googleapis.com"},
	}))(t)
	equal(t, len(both.Services), 2)
	batch := get(client.BatchEnableServices(ctx, &serviceusagepb.BatchEnableServicesRequest{
		Parent: parent, ServiceIds: []string{"run.googleapis.com"},
	}))(t)
	equal(t, len(get(batch.Wait(ctx))(t).Services), 1)
	_, err := client.EnableService(ctx, &serviceusagepb.EnableServiceRequest{Name: parent + "/services/nothing.googleapis.com"})
	refused(t, err, codes.FailedPrecondition, "nothing.googleapis.com is not emulated")
	guest := get(serviceusage.NewClient(ctx, as(t, "guest")))(t)
	_, err = guest.DisableService(ctx, &serviceusagepb.DisableServiceRequest{Name: name})
	refused(t, err, codes.PermissionDenied, "")
}

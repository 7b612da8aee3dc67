package clients

import (
	"errors"
	"strings"
	"testing"

	"cloud.google.com/go/compute/metadata"
	admin "cloud.google.com/go/iam/admin/apiv1"
	"cloud.google.com/go/iam/admin/apiv1/adminpb"
	"cloud.google.com/go/iam/apiv1/iampb"
	run "cloud.google.com/go/run/apiv2"
	"cloud.google.com/go/run/apiv2/runpb"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2/apierror"
	"golang.org/x/oauth2/google"
	"golang.org/x/oauth2/google/downscope"
	"google.golang.org/api/idtoken"
	"google.golang.org/api/impersonate"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/type/expr"
	"google.golang.org/grpc/codes"
)

func TestMetadataServer(t *testing.T) {
	equal(t, metadata.OnGCEWithContext(ctx), true)
	equal(t, get(metadata.ProjectIDWithContext(ctx))(t), project)
	number := get(projectsClient(t).GetProject(ctx, projectRequest()))(t).Name
	equal(t, "projects/"+get(metadata.NumericProjectIDWithContext(ctx))(t), number)
	equal(t, get(metadata.EmailWithContext(ctx, ""))(t), email("admin"))
	equal(t, get(metadata.GetWithContext(ctx, "instance/region"))(t), number+"/regions/"+region)
	contains(t, get(metadata.ScopesWithContext(ctx, ""))(t), scope)
	_, err := metadata.GetWithContext(ctx, "instance/nothing")
	var missing metadata.NotDefinedError
	equal(t, errors.As(err, &missing), true)
}

func TestImpersonatedIdToken(t *testing.T) {
	source := get(impersonate.IDTokenSource(ctx, impersonate.IDTokenConfig{
		Audience: "mine", TargetPrincipal: email("guest"), IncludeEmail: true,
	}))(t)
	payload := get(idtoken.Validate(ctx, get(source.Token())(t).AccessToken, "mine"))(t)
	equal(t, payload.Claims["email"], any(email("guest")))
}

func TestDownscopedToken(t *testing.T) {
	bucket := newBucket(t, nil)
	for _, name := range []string{"in/a", "out/a"} {
		write(t, bucket.Object(name), "data")
	}
	path := "projects/_/buckets/" + bucket.BucketName()
	source := get(downscope.NewTokenSource(ctx, downscope.DownscopingConfig{
		RootSource: get(google.DefaultTokenSource(ctx, scope))(t),
		Rules: []downscope.AccessBoundaryRule{{
			AvailableResource: "//storage.googleapis.com/" + path, AvailablePermissions: []string{"inRole:roles/storage.objectViewer"},
			Condition: &downscope.AvailabilityCondition{
				Expression: "resource.name.startsWith('" + path + "/objects/in/')",
			},
		}},
	}))(t)
	limited := get(storage.NewClient(ctx, option.WithTokenSource(source)))(t).Bucket(bucket.BucketName())
	equal(t, read(t, limited.Object("in/a")), "data")
	refusedHttp(t, failed(limited.Object("out/a").NewReader(ctx)), 403, "")
	refusedHttp(t, rejected(limited.Object("in/b"), "new"), 403, "")
	jobs := get(run.NewJobsClient(ctx, option.WithTokenSource(source)))(t)
	_, err := jobs.ListJobs(ctx, &runpb.ListJobsRequest{Parent: place}).Next()
	refused(t, err, codes.PermissionDenied, "")
}

func TestRefusalTellsPermissionAndReason(t *testing.T) {
	name := place + "/jobs/validibot-validator-fmu"
	byGrpc := get(run.NewJobsClient(ctx, as(t, "guest")))(t)
	byRest := get(run.NewJobsRESTClient(ctx, as(t, "guest")))(t)
	for _, err := range []error{
		failed(byGrpc.GetJob(ctx, &runpb.GetJobRequest{Name: name})),
		failed(byRest.GetJob(ctx, &runpb.GetJobRequest{Name: name})),
	} {
		var problem *apierror.APIError
		if !errors.As(err, &problem) {
			t.Fatalf("%v is no error of an API", err)
		}
		equal(t, []string{problem.Reason(), problem.Domain(), problem.Metadata()["permission"], problem.Metadata()["resource"]},
			[]string{"IAM_PERMISSION_DENIED", "iam.googleapis.com", "run.jobs.get", name})
	}
}

func TestConditionsAndCustomRolesDecide(t *testing.T) {
	t.Parallel()
	client := iamClient(t)
	account := newAccount(t, client)
	role := get(client.CreateRole(ctx, &adminpb.CreateRoleRequest{
		Parent: parent, RoleId: strings.ReplaceAll(fresh("go"), "-", "_"),
		Role: &adminpb.Role{Title: "Reader", IncludedPermissions: []string{"run.jobs.get"}},
	}))(t)
	jobs := get(run.NewJobsClient(ctx))(t)
	job := newJob(t, jobs)
	grantTokens(t, client, account.Name)
	source := get(impersonate.CredentialsTokenSource(ctx, impersonate.CredentialsConfig{
		TargetPrincipal: account.Email, Scopes: []string{scope},
	}))(t)
	reader := get(run.NewJobsClient(ctx, option.WithTokenSource(source)))(t)
	reads := func(expression string) error {
		t.Helper()
		policy := &iampb.Policy{Version: 3, Bindings: []*iampb.Binding{{
			Role: role.Name, Members: []string{"serviceAccount:" + account.Email},
			Condition: &expr.Expr{Title: "when", Expression: expression},
		}}}
		get(jobs.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: job.Name, Policy: policy}))(t)
		return failed(reader.GetJob(ctx, &runpb.GetJobRequest{Name: job.Name}))
	}
	ok(t, reads(`request.time < timestamp("2999-01-01T00:00:00Z")`))
	refused(t, reads(`request.time < timestamp("2020-01-01T00:00:00Z")`), codes.PermissionDenied, "run.jobs.get")
	ok(t, reads(`resource.name == "`+job.Name+`"`))
	refused(t, reads(`resource.name == "`+job.Name+`x"`), codes.PermissionDenied, "run.jobs.get")
	ok(t, reads("true"))
	get(client.DeleteRole(ctx, &adminpb.DeleteRoleRequest{Name: role.Name}))(t)
	refused(t, failed(reader.GetJob(ctx, &runpb.GetJobRequest{Name: job.Name})), codes.PermissionDenied, "run.jobs.get")
	get(get(jobs.DeleteJob(ctx, &runpb.DeleteJobRequest{Name: job.Name}))(t).Wait(ctx))(t)
}

// grantTokens lets the administrator be an account that was just made.
func grantTokens(t *testing.T, client *admin.IamClient, name string) {
	t.Helper()
	policy := get(client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: name}))(t)
	policy.Add(member("admin"), "roles/iam.serviceAccountTokenCreator")
	get(client.SetIamPolicy(ctx, &admin.SetIamPolicyRequest{Resource: name, Policy: policy}))(t)
}

package clients

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/iam"
	admin "cloud.google.com/go/iam/admin/apiv1"
	"cloud.google.com/go/iam/admin/apiv1/adminpb"
	"cloud.google.com/go/iam/apiv1/iampb"
	credentials "cloud.google.com/go/iam/credentials/apiv1"
	"cloud.google.com/go/iam/credentials/apiv1/credentialspb"
	"cloud.google.com/go/storage"
	"golang.org/x/oauth2/google"
	iamapi "google.golang.org/api/iam/v1"
	"google.golang.org/api/idtoken"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

func iamClient(t *testing.T) *admin.IamClient {
	t.Helper()
	return get(admin.NewIamClient(ctx))(t)
}

func accountName(account string) string {
	return parent + "/serviceAccounts/" + email(account)
}

func newAccount(t *testing.T, client *admin.IamClient) *adminpb.ServiceAccount {
	t.Helper()
	made := get(client.CreateServiceAccount(ctx, &adminpb.CreateServiceAccountRequest{
		Name: parent, AccountId: fresh("go"), ServiceAccount: &adminpb.ServiceAccount{DisplayName: "A robot"},
	}))(t)
	t.Cleanup(func() {
		client.DeleteServiceAccount(ctx, &adminpb.DeleteServiceAccountRequest{Name: made.Name})
	})
	return made
}

func TestServiceAccounts(t *testing.T) {
	client := iamClient(t)
	made := newAccount(t, client)
	equal(t, []any{len(made.UniqueId), made.ProjectId, strings.HasSuffix(made.Email, "@"+project+".iam.gserviceaccount.com")},
		[]any{21, project, true})
	_, err := client.CreateServiceAccount(ctx, &adminpb.CreateServiceAccountRequest{
		Name: parent, AccountId: made.Email[:strings.Index(made.Email, "@")],
	})
	refused(t, err, codes.AlreadyExists, "already exists within project")
	_, err = client.CreateServiceAccount(ctx, &adminpb.CreateServiceAccountRequest{Name: parent, AccountId: "Bad!"})
	refused(t, err, codes.InvalidArgument, "length between 6 and 30")
	patched := get(client.PatchServiceAccount(ctx, &adminpb.PatchServiceAccountRequest{
		ServiceAccount: &adminpb.ServiceAccount{Name: made.Name, Description: "new", DisplayName: "not in the mask"},
		UpdateMask:     mask("description"),
	}))(t)
	equal(t, []string{patched.Description, patched.DisplayName}, []string{"new", "A robot"})
	updated := get(client.UpdateServiceAccount(ctx, &adminpb.ServiceAccount{Name: made.Name, DisplayName: "Another"}))(t)
	equal(t, updated.DisplayName, "Another")
	ask := &adminpb.GetServiceAccountRequest{Name: made.Name}
	found := get(client.GetServiceAccount(ctx, ask))(t)
	equal(t, []any{found.DisplayName, found.Description, found.Disabled}, []any{"Another", "new", false})
	accounts := all(t, client.ListServiceAccounts(ctx, &adminpb.ListServiceAccountsRequest{Name: parent, PageSize: 5}).Next)
	contains(t, names(accounts, (*adminpb.ServiceAccount).GetEmail), made.Email, email("admin"))

	ok(t, client.DisableServiceAccount(ctx, &adminpb.DisableServiceAccountRequest{Name: made.Name}))
	equal(t, get(client.GetServiceAccount(ctx, ask))(t).Disabled, true)
	ok(t, client.EnableServiceAccount(ctx, &adminpb.EnableServiceAccountRequest{Name: made.Name}))
	ok(t, client.DeleteServiceAccount(ctx, &adminpb.DeleteServiceAccountRequest{Name: made.Name}))
	refused(t, failed(client.GetServiceAccount(ctx, ask)), codes.NotFound, "")
	back := get(client.UndeleteServiceAccount(ctx, &adminpb.UndeleteServiceAccountRequest{
		Name: parent + "/serviceAccounts/" + made.UniqueId,
	}))(t)
	equal(t, back.RestoredAccount.Email, made.Email)
	guest := get(admin.NewIamClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.GetServiceAccount(ctx, ask)), codes.PermissionDenied, "iam.serviceAccounts.get")
}

func TestServiceAccountPolicies(t *testing.T) {
	client := iamClient(t)
	made := newAccount(t, client)
	policy := get(client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: made.Name}))(t)
	policy.Add(member("guest"), "roles/iam.serviceAccountUser")
	request := &admin.SetIamPolicyRequest{Resource: made.Name, Policy: policy}
	written := get(client.SetIamPolicy(ctx, request))(t)
	equal(t, written.Members("roles/iam.serviceAccountUser"), []string{member("guest")})
	equal(t, get(client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: made.Name}))(t).InternalProto, written.InternalProto)
	refused(t, failed(client.SetIamPolicy(ctx, request)), codes.Aborted, "")
	written.Remove(member("guest"), iam.RoleName("roles/iam.serviceAccountUser"))
	get(client.SetIamPolicy(ctx, &admin.SetIamPolicyRequest{Resource: made.Name, Policy: written}))(t)
	asked := &iampb.TestIamPermissionsRequest{Resource: made.Name, Permissions: []string{"iam.serviceAccounts.actAs"}}
	equal(t, get(client.TestIamPermissions(ctx, asked))(t).Permissions, asked.Permissions)
	guest := get(admin.NewIamClient(ctx, as(t, "guest")))(t)
	equal(t, len(get(guest.TestIamPermissions(ctx, asked))(t).Permissions), 0)
}

func TestServiceAccountKeys(t *testing.T) {
	client := iamClient(t)
	account := newAccount(t, client)
	made := get(client.CreateServiceAccountKey(ctx, &adminpb.CreateServiceAccountKeyRequest{Name: account.Name}))(t)
	var file struct {
		Email string `json:"client_email"`
		Key   string `json:"private_key"`
	}
	ok(t, json.Unmarshal(made.PrivateKeyData, &file))
	equal(t, file.Email, account.Email)
	ask := &adminpb.GetServiceAccountKeyRequest{Name: made.Name, PublicKeyType: adminpb.ServiceAccountPublicKeyType_TYPE_X509_PEM_FILE}
	found := get(client.GetServiceAccountKey(ctx, ask))(t)
	block, _ := pem.Decode(found.PublicKeyData)
	certificate := get(x509.ParseCertificate(block.Bytes))(t)
	private, _ := pem.Decode([]byte(file.Key))
	key := get(x509.ParsePKCS8PrivateKey(private.Bytes))(t).(*rsa.PrivateKey)
	equal(t, key.PublicKey.Equal(certificate.PublicKey), true)
	keys := get(client.ListServiceAccountKeys(ctx, &adminpb.ListServiceAccountKeysRequest{
		Name: account.Name, KeyTypes: []adminpb.ListServiceAccountKeysRequest_KeyType{adminpb.ListServiceAccountKeysRequest_USER_MANAGED},
	}))(t).Keys
	equal(t, names(keys, (*adminpb.ServiceAccountKey).GetName), []string{made.Name})

	bucket := newBucket(t, nil)
	policy := get(bucket.IAM().Policy(ctx))(t)
	policy.Add("serviceAccount:"+account.Email, "roles/storage.objectAdmin")
	ok(t, bucket.IAM().SetPolicy(ctx, policy))
	own := option.WithAuthCredentialsJSON(option.ServiceAccount, made.PrivateKeyData)
	object := get(storage.NewClient(ctx, own))(t).Bucket(bucket.BucketName()).Object("by key")
	write(t, object, "data")
	equal(t, read(t, object), "data")
	// oauth2.googleapis.com takes what the key has signed.
	config := get(google.JWTConfigFromJSON(made.PrivateKeyData, scope))(t)
	equal(t, get(config.TokenSource(ctx).Token())(t).Valid(), true)

	ok(t, client.DeleteServiceAccountKey(ctx, &adminpb.DeleteServiceAccountKeyRequest{Name: made.Name}))
	refused(t, failed(client.GetServiceAccountKey(ctx, ask)), codes.NotFound, "")
	_, err := get(google.JWTConfigFromJSON(made.PrivateKeyData, scope))(t).TokenSource(ctx).Token()
	if err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("the deleted key gave a token: %v", err)
	}
}

func TestCustomRoles(t *testing.T) {
	client := iamClient(t)
	id := strings.ReplaceAll(fresh("go"), "-", "_")
	create := &adminpb.CreateRoleRequest{Parent: parent, RoleId: id, Role: &adminpb.Role{
		Title: "Reader", IncludedPermissions: []string{"run.jobs.get", "run.jobs.list"}, Stage: adminpb.Role_GA,
	}}
	made := get(client.CreateRole(ctx, create))(t)
	equal(t, made.Name, parent+"/roles/"+id)
	refused(t, failed(client.CreateRole(ctx, create)), codes.AlreadyExists, "")
	update := &adminpb.UpdateRoleRequest{
		Name: made.Name, Role: &adminpb.Role{Title: "Runner", Etag: made.Etag}, UpdateMask: mask("title"),
	}
	changed := get(client.UpdateRole(ctx, update))(t)
	equal(t, []any{changed.Title, changed.IncludedPermissions}, []any{"Runner", []string{"run.jobs.get", "run.jobs.list"}})
	refused(t, failed(client.UpdateRole(ctx, update)), codes.Aborted, "")
	ask := &adminpb.GetRoleRequest{Name: made.Name}
	equal(t, get(client.GetRole(ctx, ask))(t).Title, "Runner")
	equal(t, get(client.GetRole(ctx, &adminpb.GetRoleRequest{Name: "roles/run.invoker"}))(t).Name, "roles/run.invoker")
	roles := get(client.ListRoles(ctx, &adminpb.ListRolesRequest{Parent: parent}))(t).Roles
	contains(t, names(roles, (*adminpb.Role).GetName), made.Name)
	equal(t, get(client.DeleteRole(ctx, &adminpb.DeleteRoleRequest{Name: made.Name}))(t).Deleted, true)
	equal(t, get(client.UndeleteRole(ctx, &adminpb.UndeleteRoleRequest{Name: made.Name}))(t).Deleted, false)
	get(client.DeleteRole(ctx, &adminpb.DeleteRoleRequest{Name: made.Name}))(t)
	testable := get(client.QueryTestablePermissions(ctx, &adminpb.QueryTestablePermissionsRequest{
		FullResourceName: "//cloudresourcemanager.googleapis.com/" + parent, PageSize: 1000,
	}))(t).Permissions
	contains(t, names(testable, (*adminpb.Permission).GetName), "run.jobs.run")
	_, err := client.CreateRole(ctx, &adminpb.CreateRoleRequest{Parent: parent, RoleId: "no good", Role: &adminpb.Role{}})
	refused(t, err, codes.InvalidArgument, "")
}

func TestCredentials(t *testing.T) {
	client := get(credentials.NewIamCredentialsClient(ctx))(t)
	name := "projects/-/serviceAccounts/" + email("guest")
	access := get(client.GenerateAccessToken(ctx, &credentialspb.GenerateAccessTokenRequest{
		Name: name, Scope: []string{scope}, Lifetime: durationpb.New(10 * time.Minute),
	}))(t)
	left := time.Until(access.ExpireTime.AsTime())
	equal(t, left > 9*time.Minute && left <= 10*time.Minute, true)
	_, err := client.GenerateAccessToken(ctx, &credentialspb.GenerateAccessTokenRequest{
		Name: name, Scope: []string{scope}, Lifetime: durationpb.New(13 * time.Hour),
	})
	refused(t, err, codes.InvalidArgument, "lifetime")
	token := get(client.GenerateIdToken(ctx, &credentialspb.GenerateIdTokenRequest{
		Name: name, Audience: "mine", IncludeEmail: true,
	}))(t).Token
	equal(t, get(idtoken.Validate(ctx, token, "mine"))(t).Claims["email"], any(email("guest")))
	if _, err := idtoken.Validate(ctx, token, "yours"); err == nil {
		t.Error("the token of another audience is valid")
	}
	source := get(idtoken.NewTokenSource(ctx, "mine"))(t)
	own := get(idtoken.Validate(ctx, get(source.Token())(t).AccessToken, "mine"))(t)
	equal(t, own.Claims["email"], any(email("admin")))

	signed := get(client.SignBlob(ctx, &credentialspb.SignBlobRequest{Name: name, Payload: []byte("data")}))(t)
	keys := get(get(iamapi.NewService(ctx))(t).Projects.ServiceAccounts.Keys.List(accountName("guest")).KeyTypes("SYSTEM_MANAGED").Do())(t)
	equal(t, strings.HasSuffix(keys.Keys[0].Name, signed.KeyId), true)
	public := get(get(iamapi.NewService(ctx))(t).Projects.ServiceAccounts.Keys.Get(keys.Keys[0].Name).PublicKeyType("TYPE_X509_PEM_FILE").Do())(t)
	block, _ := pem.Decode(get(base64.StdEncoding.DecodeString(public.PublicKeyData))(t))
	key := get(x509.ParseCertificate(block.Bytes))(t).PublicKey.(*rsa.PublicKey)
	sum := sha256.Sum256([]byte("data"))
	ok(t, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signed.SignedBlob))
	jwt := get(client.SignJwt(ctx, &credentialspb.SignJwtRequest{Name: name, Payload: `{"sub": "x"}`}))(t)
	parts := strings.Split(jwt.SignedJwt, ".")
	sum = sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	ok(t, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], get(base64.RawURLEncoding.DecodeString(parts[2]))(t)))
	_, err = client.SignJwt(ctx, &credentialspb.SignJwtRequest{Name: name, Payload: "no JSON"})
	refused(t, err, codes.InvalidArgument, "")
	guest := get(credentials.NewIamCredentialsClient(ctx, as(t, "guest")))(t)
	_, err = guest.SignBlob(ctx, &credentialspb.SignBlobRequest{Name: "projects/-/serviceAccounts/" + email("web"), Payload: []byte("x")})
	refused(t, err, codes.PermissionDenied, "iam.serviceAccounts.signBlob")
}

// traceWriter returns an account that may write traces.
func traceWriter(t *testing.T) string {
	t.Helper()
	manager := projectsClient(t)
	policy := get(manager.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: parent}))(t)
	policy.Bindings = append(policy.Bindings, &iampb.Binding{
		Role: "roles/cloudtrace.agent", Members: []string{member("stranger")},
	})
	get(manager.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: parent, Policy: policy}))(t)
	return "stranger"
}

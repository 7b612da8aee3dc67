package clients

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/iam/admin/apiv1"
	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/storage"
	iamapi "google.golang.org/api/iam/v1"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
)

// issuer signs the tokens of a provider whose keys are in its settings.
type issuer struct{ key *rsa.PrivateKey }

func (i issuer) keys() string {
	number := func(value *big.Int) string { return base64.RawURLEncoding.EncodeToString(value.Bytes()) }
	return fmt.Sprintf(`{"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": %q, "e": %q}]}`,
		number(i.key.N), number(big.NewInt(int64(i.key.E))))
}

func (i issuer) token(t *testing.T, subject string) string {
	t.Helper()
	part := func(value any) string {
		return base64.RawURLEncoding.EncodeToString(get(json.Marshal(value))(t))
	}
	now := time.Now().Unix()
	head := part(map[string]any{"alg": "RS256", "kid": "1", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": "https://issuer.example", "aud": "shop", "sub": subject, "iat": now, "exp": now + 600,
	})
	sum := sha256.Sum256([]byte(head))
	signature := get(rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:]))(t)
	return head + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestFederation(t *testing.T) {
	service := get(iamapi.NewService(ctx))(t).Projects.Locations.WorkloadIdentityPools
	number := get(projectsClient(t).GetProject(ctx, projectRequest()))(t).Name
	global, id := parent+"/locations/global", fresh("go")
	operation := get(service.Create(global, &iamapi.WorkloadIdentityPool{DisplayName: "people"}).WorkloadIdentityPoolId(id).Do())(t)
	equal(t, operation.Done, true)
	name := number + "/locations/global/workloadIdentityPools/" + id
	pool := get(service.Get(name).Do())(t)
	equal(t, []string{pool.Name, pool.State, pool.DisplayName}, []string{name, "ACTIVE", "people"})
	refused(t, failed(service.Create(global, &iamapi.WorkloadIdentityPool{}).WorkloadIdentityPoolId(id).Do()), codes.AlreadyExists, "")
	refused(t, failed(service.Create(global, &iamapi.WorkloadIdentityPool{}).WorkloadIdentityPoolId("gcp-x").Do()), codes.InvalidArgument, "")

	mine := issuer{get(rsa.GenerateKey(rand.Reader, 2048))(t)}
	wanted := &iamapi.WorkloadIdentityPoolProvider{
		Oidc: &iamapi.Oidc{
			IssuerUri: "https://issuer.example", AllowedAudiences: []string{"shop"}, JwksJson: mine.keys(),
		},
		AttributeMapping:   map[string]string{"google.subject": "assertion.sub"},
		AttributeCondition: "assertion.sub != 'eve'",
	}
	get(service.Providers.Create(name, wanted).WorkloadIdentityPoolProviderId("sign-in").Do())(t)
	provider := name + "/providers/sign-in"
	equal(t, get(service.Providers.Get(provider).Do())(t).AttributeCondition, wanted.AttributeCondition)
	providers := get(service.Providers.List(name).Do())(t).WorkloadIdentityPoolProviders
	equal(t, names(providers, func(each *iamapi.WorkloadIdentityPoolProvider) string { return each.Name }), []string{provider})
	wrong := &iamapi.WorkloadIdentityPoolProvider{AttributeCondition: "assertion."}
	refused(t, failed(service.Providers.Patch(provider, wrong).UpdateMask("attributeCondition").Do()), codes.InvalidArgument, "")
	get(service.Providers.Patch(provider, &iamapi.WorkloadIdentityPoolProvider{Description: "d"}).UpdateMask("description").Do())(t)
	equal(t, get(service.Providers.Get(provider).Do())(t).Description, "d")

	checkImpersonation(t, mine, provider, name)

	get(service.Providers.Delete(provider).Do())(t)
	equal(t, get(service.Providers.Get(provider).Do())(t).State, "DELETED")
	get(service.Providers.Undelete(provider, &iamapi.UndeleteWorkloadIdentityPoolProviderRequest{}).Do())(t)
	get(service.Patch(name, &iamapi.WorkloadIdentityPool{Disabled: true}).UpdateMask("disabled").Do())(t)
	equal(t, get(service.Get(name).Do())(t).Disabled, true)
	get(service.Delete(name).Do())(t)
	get(service.Undelete(name, &iamapi.UndeleteWorkloadIdentityPoolRequest{}).Do())(t)
	get(service.Delete(name).Do())(t)
	pools := get(service.List(global).ShowDeleted(true).Do())(t).WorkloadIdentityPools
	contains(t, names(pools, func(each *iamapi.WorkloadIdentityPool) string { return each.Name + " " + each.State }), name+" DELETED")
}

// checkImpersonation lets Ada, whom the pool knows, be a service account, and neither Bob nor Eve.
func checkImpersonation(t *testing.T, mine issuer, provider, pool string) {
	t.Helper()
	client := iamClient(t)
	account := newAccount(t, client)
	policy := get(client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: account.Name}))(t)
	policy.Add("principal://iam.googleapis.com/"+pool+"/subject/ada", "roles/iam.workloadIdentityUser")
	get(client.SetIamPolicy(ctx, &admin.SetIamPolicyRequest{Resource: account.Name, Policy: policy}))(t)
	bucket := newBucket(t, nil)
	write(t, bucket.Object("object"), "data")
	rights := get(bucket.IAM().Policy(ctx))(t)
	rights.Add("serviceAccount:"+account.Email, "roles/storage.objectViewer")
	ok(t, bucket.IAM().SetPolicy(ctx, rights))
	reads := func(subject string) error {
		file := filepath.Join(t.TempDir(), "token")
		ok(t, os.WriteFile(file, []byte(mine.token(t, subject)), 0o600))
		settings := get(json.Marshal(map[string]any{
			"type": "external_account", "audience": "//iam.googleapis.com/" + provider,
			"subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
			"token_url":          "https://sts.googleapis.com/v1/token",
			"credential_source":  map[string]string{"file": file},
			"service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" +
				account.Email + ":generateAccessToken",
		}))(t)
		external := option.WithAuthCredentialsJSON(option.ExternalAccount, settings)
		return failed(get(storage.NewClient(ctx, external))(t).Bucket(bucket.BucketName()).Object("object").NewReader(ctx))
	}
	ok(t, reads("ada"))
	for subject, text := range map[string]string{"bob": "iam.serviceAccounts.getAccessToken", "eve": "attribute condition"} {
		if err := reads(subject); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s is refused by %v, want %s", subject, err, text)
		}
	}
}

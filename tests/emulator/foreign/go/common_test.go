// Google's Go clients as a program would use them, one file for each service.
//
// Nothing here knows of an emulator: endpoints, identity and trust come from the environment. The
// program is `admin`; As returns the credentials of other accounts.
package clients

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	"github.com/googleapis/gax-go/v2"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/impersonate"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/type/expr"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

const (
	scope  = "https://www.googleapis.com/auth/cloud-platform"
	region = "us-west1"
)

var (
	ctx     = context.Background()
	project = os.Getenv("GOOGLE_CLOUD_PROJECT")
	parent  = "projects/" + project
	place   = parent + "/locations/" + region
)

// get returns the value of a call that must not fail: get(client.Call(...))(t).
func get[V any](value V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		ok(t, err)
		return value
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("failed: %v", err)
	}
}

// equal compares values, messages by their fields.
func equal[V any](t *testing.T, got, want V) {
	t.Helper()
	one, isMessage := any(got).(proto.Message)
	if isMessage && proto.Equal(one, any(want).(proto.Message)) {
		return
	}
	if isMessage || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// refused checks the code and a part of the text of a refusal, by gRPC or by HTTP.
func refused(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	if err == nil {
		t.Errorf("not refused; want %v: %s", code, text)
		return
	}
	var failure *googleapi.Error
	isCode := status.Code(err) == code
	if problem, found := status.FromError(err); found {
		isCode = problem.Code() == code
	}
	if errors.As(err, &failure) {
		isCode = failure.Code == httpStatus[code]
	}
	if !isCode || !strings.Contains(err.Error(), text) {
		t.Errorf("refused by %v, want %v: %s", err, code, text)
	}
}

var httpStatus = map[codes.Code]int{
	codes.InvalidArgument: 400, codes.FailedPrecondition: 400, codes.Unauthenticated: 401,
	codes.PermissionDenied: 403, codes.NotFound: 404, codes.Aborted: 409, codes.AlreadyExists: 409,
	codes.Unimplemented: 501,
}

func failed[V any](_ V, err error) error { return err }

// all returns the items of all pages.
func all[V any](t *testing.T, next func() (V, error)) []V {
	t.Helper()
	found := []V{}
	for {
		item, err := next()
		if errors.Is(err, iterator.Done) {
			return found
		}
		ok(t, err)
		found = append(found, item)
	}
}

func names[V any](items []V, name func(V) string) []string {
	found := []string{}
	for _, item := range items {
		found = append(found, name(item))
	}
	return found
}

func contains(t *testing.T, found []string, wanted ...string) {
	t.Helper()
	for _, each := range wanted {
		if !slices.Contains(found, each) {
			t.Errorf("%q is not among %q", each, found)
		}
	}
}

// until waits for what happens soon.
func until(t *testing.T, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if happened() {
			return
		}
	}
	t.Fatal("it did not happen within 30 s")
}

// fresh returns a name that nothing has.
func fresh(prefix string) string {
	digits := make([]byte, 5)
	rand.Read(digits)
	return prefix + "-" + hex.EncodeToString(digits)
}

func lastPart(name string) string { return name[strings.LastIndex(name, "/")+1:] }

func email(account string) string {
	return fmt.Sprintf("%s@%s.iam.gserviceaccount.com", account, project)
}

func member(account string) string { return "serviceAccount:" + email(account) }

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

var tokens sync.Map

// as is the option of a client that is another account, impersonated by the administrator.
func as(t *testing.T, account string) option.ClientOption {
	t.Helper()
	return option.WithTokenSource(tokenSource(t, account))
}

func tokenSource(t *testing.T, account string) oauth2.TokenSource {
	t.Helper()
	if source, found := tokens.Load(account); found {
		return source.(oauth2.TokenSource)
	}
	source := get(impersonate.CredentialsTokenSource(ctx, impersonate.CredentialsConfig{
		TargetPrincipal: email(account), Scopes: []string{scope},
	}))(t)
	tokens.Store(account, source)
	return source
}

var soon = &expr.Expr{Title: "for now", Expression: `request.time < timestamp("2999-01-01T00:00:00Z")`}

type policies interface {
	GetIamPolicy(context.Context, *iampb.GetIamPolicyRequest, ...gax.CallOption) (*iampb.Policy, error)
	SetIamPolicy(context.Context, *iampb.SetIamPolicyRequest, ...gax.CallOption) (*iampb.Policy, error)
	TestIamPermissions(
		context.Context, *iampb.TestIamPermissionsRequest, ...gax.CallOption,
	) (*iampb.TestIamPermissionsResponse, error)
}

// checkPolicy sets a policy with a condition, is refused with an old etag, and asks for permissions.
func checkPolicy(t *testing.T, client policies, resource, role string, permissions ...string) {
	t.Helper()
	ask := &iampb.GetIamPolicyRequest{
		Resource: resource, Options: &iampb.GetPolicyOptions{RequestedPolicyVersion: 3},
	}
	old := get(client.GetIamPolicy(ctx, ask))(t)
	policy := proto.CloneOf(old)
	policy.Version = 3
	policy.Bindings = append(policy.Bindings, &iampb.Binding{
		Role: role, Members: []string{member("guest")},
		Condition: soon,
	})
	wanted := &iampb.SetIamPolicyRequest{Resource: resource, Policy: policy}
	written := get(client.SetIamPolicy(ctx, wanted))(t)
	equal(t, get(client.GetIamPolicy(ctx, ask))(t), written)
	last := written.Bindings[len(written.Bindings)-1]
	equal(t, last.Condition, soon)
	if written.Version != 3 || last.Role != role || slices.Equal(written.Etag, old.Etag) {
		t.Errorf("the policy is %v", written)
	}
	refused(t, failed(client.SetIamPolicy(ctx, wanted)), codes.Aborted, "")
	someone := &iampb.Policy{Bindings: []*iampb.Binding{{Role: role, Members: []string{"someone"}}}}
	refused(t, failed(client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{
		Resource: resource, Policy: someone,
	})), codes.InvalidArgument, "someone")
	asked := &iampb.TestIamPermissionsRequest{Resource: resource, Permissions: permissions}
	equal(t, get(client.TestIamPermissions(ctx, asked))(t).Permissions, permissions)
	old.Etag = written.Etag
	get(client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: resource, Policy: old}))(t)
}

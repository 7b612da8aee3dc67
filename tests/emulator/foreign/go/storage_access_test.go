package clients

import (
	"testing"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/storage"
	storageapi "google.golang.org/api/storage/v1"
	"google.golang.org/protobuf/proto"
)

func TestStoragePolicies(t *testing.T) {
	bucket := newBucket(t, nil)
	write(t, bucket.Object("in/a"), "a")
	write(t, bucket.Object("out/a"), "a")
	guest := get(storage.NewClient(ctx, as(t, "guest")))(t).Bucket(bucket.BucketName())
	refusedHttp(t, failed(guest.Object("in/a").NewReader(ctx)), 403, "storage.objects.get")

	handle := bucket.IAM().V3()
	policy := get(handle.Policy(ctx))(t)
	inside := proto.CloneOf(soon)
	inside.Expression = "resource.name.startsWith('projects/_/buckets/" + bucket.BucketName() + "/objects/in/')"
	policy.Bindings = append(policy.Bindings, &iampb.Binding{
		Role: "roles/storage.objectViewer", Members: []string{member("guest")}, Condition: inside,
	})
	ok(t, handle.SetPolicy(ctx, policy))
	refusedHttp(t, handle.SetPolicy(ctx, policy), 412, "")
	last := get(handle.Policy(ctx))(t).Bindings
	equal(t, last[len(last)-1].Condition, inside)
	equal(t, read(t, guest.Object("in/a")), "a")
	refusedHttp(t, failed(guest.Object("out/a").NewReader(ctx)), 403, "storage.objects.get")
	asked := []string{"storage.objects.list", "storage.buckets.get"}
	equal(t, get(bucket.IAM().TestPermissions(ctx, asked))(t), asked)
	equal(t, len(get(guest.IAM().TestPermissions(ctx, asked))(t)), 0)
}

func TestStorageAccessListsAreRefusedWithUniformAccess(t *testing.T) {
	bucket := newBucket(t, nil)
	write(t, bucket.Object("object"), "a")
	refusedHttp(t, bucket.Object("object").ACL().Set(ctx, storage.AllUsers, storage.RoleReader), 400, "uniform bucket-level access")
	_, err := bucket.ACL().List(ctx)
	refusedHttp(t, err, 400, "uniform bucket-level access")
}

func TestStorageAccessLists(t *testing.T) {
	bucket := newBucket(t, &storage.BucketAttrs{UniformBucketLevelAccess: storage.UniformBucketLevelAccess{Enabled: false}})
	get(bucket.Update(ctx, storage.BucketAttrsToUpdate{
		UniformBucketLevelAccess: &storage.UniformBucketLevelAccess{Enabled: false},
	}))(t)
	object := bucket.Object("object")
	write(t, object, "a")
	guest := storage.ACLEntity("user-" + email("guest"))
	reader := get(storage.NewClient(ctx, as(t, "guest")))(t).Bucket(bucket.BucketName()).Object("object")
	refusedHttp(t, failed(reader.NewReader(ctx)), 403, "")
	roles := func(rules []storage.ACLRule, err error) map[storage.ACLEntity]storage.ACLRole {
		t.Helper()
		ok(t, err)
		found := map[storage.ACLEntity]storage.ACLRole{}
		for _, each := range rules {
			found[each.Entity] = each.Role
		}
		return found
	}
	for _, each := range []*storage.ACLHandle{object.ACL(), bucket.ACL(), bucket.DefaultObjectACL()} {
		ok(t, each.Set(ctx, guest, storage.RoleReader))
		equal(t, roles(each.List(ctx))[guest], storage.RoleReader)
	}
	equal(t, read(t, reader), "a")
	for _, each := range []*storage.ACLHandle{object.ACL(), bucket.ACL(), bucket.DefaultObjectACL()} {
		ok(t, each.Delete(ctx, guest))
		equal(t, roles(each.List(ctx))[guest], "")
		refusedHttp(t, each.Delete(ctx, guest), 404, "")
	}
	refusedHttp(t, failed(reader.NewReader(ctx)), 403, "")
	checkEntryMethods(t, bucket.BucketName(), string(guest))
}

// checkEntryMethods calls those that Google's library above these has no use for.
func checkEntryMethods(t *testing.T, bucket, guest string) {
	t.Helper()
	api := storageApi(t)
	buckets, entry := api.BucketAccessControls, &storageapi.BucketAccessControl{Entity: guest, Role: "READER"}
	get(buckets.Insert(bucket, entry).Do())(t)
	entry.Role = "WRITER"
	get(buckets.Patch(bucket, guest, entry).Do())(t)
	equal(t, get(buckets.Get(bucket, guest).Do())(t).Role, "WRITER")
	entry.Role = "OWNER"
	equal(t, get(buckets.Update(bucket, guest, entry).Do())(t).Role, "OWNER")
	entry.Role = "KING"
	refusedHttp(t, failed(buckets.Update(bucket, guest, entry).Do()), 400, "KING")

	item := &storageapi.ObjectAccessControl{Entity: guest, Role: "READER"}
	defaults := api.DefaultObjectAccessControls
	get(defaults.Insert(bucket, item).Do())(t)
	equal(t, get(defaults.Get(bucket, guest).Do())(t).Role, "READER")
	item.Role = "OWNER"
	equal(t, get(defaults.Patch(bucket, guest, item).Do())(t).Role, "OWNER")
	item.Role = "READER"
	equal(t, get(defaults.Update(bucket, guest, item).Do())(t).Role, "READER")

	objects := api.ObjectAccessControls
	get(objects.Insert(bucket, "object", item).Do())(t)
	equal(t, get(objects.Get(bucket, "object", guest).Do())(t).Role, "READER")
	item.Role = "OWNER"
	equal(t, get(objects.Patch(bucket, "object", guest, item).Do())(t).Role, "OWNER")
	item.Role = "READER"
	equal(t, get(objects.Update(bucket, "object", guest, item).Do())(t).Role, "READER")
	refusedHttp(t, failed(objects.Get(bucket, "object", "user-nobody@example.com").Do()), 404, "")
}

func TestStorageHmacKeys(t *testing.T) {
	client := storageClient(t)
	made := get(client.CreateHMACKey(ctx, project, email("guest")))(t)
	equal(t, []any{made.State, len(made.Secret), len(made.AccessID), made.ServiceAccountEmail},
		[]any{storage.Active, 40, 61, email("guest")})
	handle := client.HMACKeyHandle(project, made.AccessID)
	refusedHttp(t, handle.Delete(ctx), 400, "")
	off := storage.HMACKeyAttrsToUpdate{State: storage.Inactive, Etag: made.Etag}
	changed := get(handle.Update(ctx, off))(t)
	equal(t, changed.State, storage.Inactive)
	refusedHttp(t, failed(handle.Update(ctx, storage.HMACKeyAttrsToUpdate{State: storage.Active, Etag: made.Etag})), 412, "")
	equal(t, get(handle.Get(ctx))(t).Secret, "")
	keys := all(t, client.ListHMACKeys(ctx, project, storage.ForHMACKeyServiceAccountEmail(email("guest"))).Next)
	contains(t, names(keys, func(each *storage.HMACKey) string { return each.AccessID }), made.AccessID)
	ok(t, handle.Delete(ctx))
	equal(t, get(handle.Get(ctx))(t).State, storage.Deleted)
	refusedHttp(t, failed(client.CreateHMACKey(ctx, project, email("nobody"))), 404, "")
}

package clients

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	storageapi "google.golang.org/api/storage/v1"
	"google.golang.org/grpc/codes"
)

func storageClient(t *testing.T) *storage.Client {
	t.Helper()
	return get(storage.NewClient(ctx))(t)
}

func storageApi(t *testing.T) *storageapi.Service {
	t.Helper()
	return get(storageapi.NewService(ctx))(t)
}

// newBucket makes a bucket that is deleted with its objects at the end of the test.
func newBucket(t *testing.T, attrs *storage.BucketAttrs) *storage.BucketHandle {
	t.Helper()
	bucket := storageClient(t).Bucket(fresh("go"))
	ok(t, bucket.Create(ctx, project, attrs))
	t.Cleanup(func() {
		for _, each := range all(t, bucket.Objects(ctx, &storage.Query{Versions: true}).Next) {
			bucket.Object(each.Name).Generation(each.Generation).Delete(ctx)
		}
		bucket.Delete(ctx)
	})
	return bucket
}

func write(t *testing.T, target *storage.ObjectHandle, data string) *storage.ObjectAttrs {
	t.Helper()
	writer := target.NewWriter(ctx)
	get(writer.Write([]byte(data)))(t)
	ok(t, writer.Close())
	return writer.Attrs()
}

func rejected(target *storage.ObjectHandle, data string) error {
	writer := target.NewWriter(ctx)
	if _, err := writer.Write([]byte(data)); err != nil {
		return err
	}
	return writer.Close()
}

func read(t *testing.T, source *storage.ObjectHandle) string {
	t.Helper()
	return readPart(t, source, 0, -1)
}

func readPart(t *testing.T, source *storage.ObjectHandle, offset, length int64) string {
	t.Helper()
	reader := get(source.NewRangeReader(ctx, offset, length))(t)
	defer reader.Close()
	return string(get(io.ReadAll(reader))(t))
}

// refusedHttp checks a refusal that has an HTTP status of its own.
func refusedHttp(t *testing.T, err error, status int, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) || !strings.Contains(err.Error(), text) {
		t.Errorf("refused by %v, want %d: %s", err, status, text)
	}
}

func TestStorageUploads(t *testing.T) {
	bucket := newBucket(t, nil)
	small := bucket.Object("small.txt")
	writer := small.NewWriter(ctx)
	writer.ContentType, writer.Metadata = "text/plain", map[string]string{"run": "1"}
	writer.CRC32C, writer.SendCRC32C = crc32.Checksum([]byte("hello"), crc32.MakeTable(crc32.Castagnoli)), true
	get(writer.Write([]byte("hello")))(t)
	ok(t, writer.Close())
	attrs := get(small.Attrs(ctx))(t)
	equal(t, attrs, writer.Attrs())
	equal(t, []any{attrs.ContentType, attrs.Size, attrs.Metadata["run"], attrs.Metageneration},
		[]any{"text/plain", int64(5), "1", int64(1)})
	equal(t, read(t, small)+readPart(t, small, -3, -1)+readPart(t, small, 1, 2), "hellolloel")

	wrong := small.NewWriter(ctx)
	wrong.CRC32C, wrong.SendCRC32C = 1, true
	get(wrong.Write([]byte("hello")))(t)
	refusedHttp(t, wrong.Close(), 400, "CRC32C")

	data := make([]byte, 1<<20+5)
	rand.Read(data)
	large := bucket.Object("large")
	parts := large.NewWriter(ctx)
	parts.ChunkSize = 256 << 10
	sent := []int64{}
	parts.ProgressFunc = func(at int64) { sent = append(sent, at) }
	get(parts.Write(data))(t)
	ok(t, parts.Close())
	equal(t, sent, []int64{256 << 10, 512 << 10, 768 << 10, 1 << 20, 1<<20 + 5})
	equal(t, read(t, large), string(data))
	_, err := large.NewRangeReader(ctx, 2<<20, 1)
	refusedHttp(t, err, 416, "")

	packed := bucket.Object("packed")
	zipped := packed.NewWriter(ctx)
	zipped.ContentEncoding = "gzip"
	packer := gzip.NewWriter(zipped)
	get(packer.Write(bytes.Repeat([]byte("a"), 1000)))(t)
	ok(t, packer.Close())
	ok(t, zipped.Close())
	equal(t, len(read(t, packed)), 1000)
	equal(t, int64(len(read(t, packed.ReadCompressed(true)))), zipped.Attrs().Size)
}

func TestStoragePreconditions(t *testing.T) {
	bucket := newBucket(t, nil)
	object := bucket.Object("object")
	fresh := object.If(storage.Conditions{DoesNotExist: true})
	first := write(t, fresh, "first")
	refusedHttp(t, rejected(fresh, "second"), 412, "conditionNotMet")
	equal(t, read(t, object), "first")
	old := storage.Conditions{GenerationMatch: first.Generation}
	write(t, object.If(old), "second")
	refusedHttp(t, object.If(old).Delete(ctx), 412, "conditionNotMet")
	refusedHttp(t, rejected(object.If(old), "third"), 412, "")
	_, err := object.If(storage.Conditions{MetagenerationMatch: 5}).NewReader(ctx)
	refusedHttp(t, err, 412, "")
	_, err = object.If(storage.Conditions{MetagenerationMatch: 5}).Update(ctx, storage.ObjectAttrsToUpdate{CacheControl: "no-store"})
	refusedHttp(t, err, 412, "")
	_, err = object.Generation(first.Generation).Attrs(ctx)
	equal(t, errors.Is(err, storage.ErrObjectNotExist), true)
	_, err = bucket.Object("none").NewReader(ctx)
	equal(t, errors.Is(err, storage.ErrObjectNotExist), true)
	_, err = storageClient(t).Bucket(bucket.BucketName() + "-none").Attrs(ctx)
	equal(t, errors.Is(err, storage.ErrBucketNotExist), true)
	refusedHttp(t, bucket.If(storage.BucketConditions{MetagenerationMatch: 9}).Delete(ctx), 412, "")
	refusedHttp(t, bucket.Delete(ctx), 409, "not empty")
	refusedHttp(t, bucket.Create(ctx, project, nil), 409, "")
	refusedHttp(t, rejected(bucket.Object("a\nb"), ""), 400, "")
}

func listed(t *testing.T, bucket *storage.BucketHandle, query storage.Query) []string {
	t.Helper()
	return names(all(t, bucket.Objects(ctx, &query).Next), func(attrs *storage.ObjectAttrs) string {
		return attrs.Name + attrs.Prefix
	})
}

func TestStorageLists(t *testing.T) {
	bucket := newBucket(t, nil)
	for _, name := range []string{"a.txt", "b.csv", "d/c.txt", "d/e/f.txt"} {
		write(t, bucket.Object(name), name)
	}
	equal(t, listed(t, bucket, storage.Query{}), []string{"a.txt", "b.csv", "d/c.txt", "d/e/f.txt"})
	equal(t, listed(t, bucket, storage.Query{MatchGlob: "**.txt"}), []string{"a.txt", "d/c.txt", "d/e/f.txt"})
	equal(t, listed(t, bucket, storage.Query{MatchGlob: "{a,b}.*"}), []string{"a.txt", "b.csv"})
	equal(t, listed(t, bucket, storage.Query{Delimiter: "/"}), []string{"a.txt", "b.csv", "d/"})
	equal(t, listed(t, bucket, storage.Query{Prefix: "d/", Delimiter: "/"}), []string{"d/c.txt", "d/e/"})
	equal(t, listed(t, bucket, storage.Query{StartOffset: "b", EndOffset: "d/e"}), []string{"b.csv", "d/c.txt"})
	var page []*storage.ObjectAttrs
	pager := iterator.NewPager(bucket.Objects(ctx, nil), 3, "")
	token := get(pager.NextPage(&page))(t)
	equal(t, len(page), 3)
	equal(t, get(iterator.NewPager(bucket.Objects(ctx, nil), 3, token).NextPage(&page))(t), "")
	equal(t, page[3].Name, "d/e/f.txt")
	query := &storage.Query{Prefix: "a"}
	ok(t, query.SetAttrSelection([]string{"Name"}))
	selected := get(bucket.Objects(ctx, query).Next())(t)
	equal(t, []any{selected.Name, selected.Size, selected.ContentType}, []any{"a.txt", int64(0), ""})
	folders := get(storageApi(t).ManagedFolders.List(bucket.BucketName()).Do())(t)
	equal(t, len(folders.Items), 0)
}

func TestStorageCopies(t *testing.T) {
	bucket := newBucket(t, nil)
	source, copied := bucket.Object("source"), bucket.Object("copied")
	write(t, source, "one")
	updated := get(source.Update(ctx, storage.ObjectAttrsToUpdate{
		Metadata: map[string]string{"state": "new"}, ContentType: "text/plain",
	}))(t)
	equal(t, []any{updated.Metageneration, updated.Metadata["state"]}, []any{int64(2), "new"})
	equal(t, get(copied.CopierFrom(source).Run(ctx))(t).Metadata, map[string]string{"state": "new"})
	copier := bucket.Object("cold").CopierFrom(source)
	copier.StorageClass, copier.ContentType = "NEARLINE", "text/csv"
	cold := get(copier.Run(ctx))(t)
	equal(t, []any{cold.StorageClass, cold.ContentType, len(cold.Metadata)}, []any{"NEARLINE", "text/csv", 0})
	moved := get(copied.Move(ctx, storage.MoveObjectDestination{Object: "moved"}))(t)
	equal(t, []string{moved.Metadata["state"], read(t, bucket.Object("moved"))}, []string{"new", "one"})
	_, err := copied.Attrs(ctx)
	equal(t, errors.Is(err, storage.ErrObjectNotExist), true)
	composer := bucket.Object("both").ComposerFrom(source, bucket.Object("moved"))
	composer.ContentType = "text/csv"
	both := get(composer.Run(ctx))(t)
	equal(t, []any{both.ComponentCount, both.ContentType, len(both.MD5)}, []any{int64(2), "text/csv", 0})
	equal(t, read(t, bucket.Object("both")), "oneone")
	ok(t, source.Delete(ctx))
	equal(t, errors.Is(source.Delete(ctx), storage.ErrObjectNotExist), true)
	_, err = bucket.Object("x").ComposerFrom(source, bucket.Object("moved")).Run(ctx)
	refusedHttp(t, err, 404, "")

	api, name := storageApi(t), bucket.BucketName()
	old := get(api.Objects.Copy(name, "moved", name, "old", &storageapi.Object{}).Do())(t)
	equal(t, old.Metadata, map[string]string{"state": "new"})
	replaced := get(api.Objects.Update(name, "old", &storageapi.Object{ContentType: "a/b"}).Do())(t)
	equal(t, []any{replaced.ContentType, len(replaced.Metadata)}, []any{"a/b", 0})
}

func TestStorageVersionsAndSoftDelete(t *testing.T) {
	bucket := newBucket(t, &storage.BucketAttrs{
		VersioningEnabled: true,
		SoftDeletePolicy:  &storage.SoftDeletePolicy{RetentionDuration: 7 * 24 * time.Hour},
	})
	object := bucket.Object("object")
	first := write(t, object, "1")
	second := write(t, object, "2")
	equal(t, read(t, object.Generation(first.Generation)), "1")
	equal(t, len(listed(t, bucket, storage.Query{Versions: true})), 2)
	ok(t, object.Delete(ctx))
	equal(t, len(listed(t, bucket, storage.Query{})), 0)
	noncurrent := get(object.Generation(second.Generation).Attrs(ctx))(t)
	equal(t, noncurrent.Deleted.IsZero(), false)
	for _, each := range []*storage.ObjectAttrs{first, second} {
		ok(t, object.Generation(each.Generation).Delete(ctx))
	}
	equal(t, len(listed(t, bucket, storage.Query{SoftDeleted: true})), 2)
	gone := get(object.Generation(second.Generation).SoftDeleted().Attrs(ctx))(t)
	equal(t, gone.HardDeleteTime.Sub(gone.SoftDeleteTime), 7*24*time.Hour)
	restored := get(object.Generation(first.Generation).Restore(ctx, &storage.RestoreOptions{}))(t)
	equal(t, restored.Generation > second.Generation, true)
	equal(t, read(t, object), "1")
	_, err := object.Generation(first.Generation+1).Restore(ctx, &storage.RestoreOptions{})
	equal(t, errors.Is(err, storage.ErrObjectNotExist), true)

	ok(t, object.Delete(ctx))
	ok(t, object.Generation(restored.Generation).Delete(ctx))
	api, name := storageApi(t), bucket.BucketName()
	operation := get(api.Objects.BulkRestore(name, &storageapi.BulkRestoreObjectsRequest{
		MatchGlobs: []string{"obj*"},
	}).Do())(t)
	id := lastPart(operation.Name)
	until(t, func() bool { return get(api.Operations.Get(name, id).Do())(t).Done })
	equal(t, read(t, object), "1")
	ran := get(api.Operations.List(name).Do())(t).Operations
	equal(t, names(ran, func(each *storageapi.GoogleLongrunningOperation) string { return each.Name }), []string{operation.Name})
	ok(t, api.Operations.Cancel(name, id).Do())
	refusedHttp(t, api.Operations.Cancel(name, id+"x").Do(), 404, "")
}

func TestStorageBucketSettings(t *testing.T) {
	bucket := newBucket(t, &storage.BucketAttrs{
		Location: "US", Labels: map[string]string{"a": "1"}, StorageClass: "NEARLINE",
		CORS: []storage.CORS{{MaxAge: time.Hour, Methods: []string{"GET"}, Origins: []string{"*"}}},
		Lifecycle: storage.Lifecycle{Rules: []storage.LifecycleRule{{
			Action:    storage.LifecycleAction{Type: storage.DeleteAction},
			Condition: storage.LifecycleCondition{AgeInDays: 3, MatchesPrefix: []string{"tmp/"}},
		}}},
	})
	made := get(bucket.Attrs(ctx))(t)
	equal(t, []any{made.Location, made.LocationType, made.StorageClass, made.Labels["a"]},
		[]any{"US", "multi-region", "NEARLINE", "1"})
	equal(t, made.Lifecycle.Rules[0].Condition.AgeInDays, int64(3))
	equal(t, made.CORS[0].MaxAge, time.Hour)

	update := storage.BucketAttrsToUpdate{VersioningEnabled: true, DefaultEventBasedHold: false}
	update.SetLabel("b", "2")
	update.DeleteLabel("a")
	update.RetentionPolicy = &storage.RetentionPolicy{RetentionPeriod: time.Hour}
	found := get(bucket.If(storage.BucketConditions{MetagenerationMatch: 1}).Update(ctx, update))(t)
	equal(t, found.Labels, map[string]string{"b": "2"})
	equal(t, found.RetentionPolicy.RetentionPeriod, time.Hour)
	equal(t, []int64{found.MetaGeneration, get(bucket.Attrs(ctx))(t).MetaGeneration}, []int64{2, 2})
	_, err := bucket.If(storage.BucketConditions{MetagenerationMatch: 1}).Update(ctx, update)
	refusedHttp(t, err, 412, "")
	_, err = bucket.Update(ctx, storage.BucketAttrsToUpdate{StorageClass: "GLACIER"})
	refusedHttp(t, err, 400, "GLACIER")

	kept := bucket.Object("kept")
	attrs := write(t, kept, "1")
	refusedHttp(t, kept.Generation(attrs.Generation).Delete(ctx), 403, "retentionPolicyNotMet")
	equal(t, attrs.RetentionExpirationTime.Sub(attrs.Created), time.Hour)
	get(bucket.Update(ctx, storage.BucketAttrsToUpdate{RetentionPolicy: &storage.RetentionPolicy{}}))(t)
	get(kept.Update(ctx, storage.ObjectAttrsToUpdate{TemporaryHold: true}))(t)
	refusedHttp(t, kept.Generation(attrs.Generation).Delete(ctx), 403, "hold")
	get(kept.Update(ctx, storage.ObjectAttrsToUpdate{TemporaryHold: false}))(t)

	locked := newBucket(t, &storage.BucketAttrs{RetentionPolicy: &storage.RetentionPolicy{RetentionPeriod: time.Second}})
	refusedHttp(t, locked.If(storage.BucketConditions{MetagenerationMatch: 5}).LockRetentionPolicy(ctx), 412, "")
	ok(t, locked.If(storage.BucketConditions{MetagenerationMatch: 1}).LockRetentionPolicy(ctx))
	equal(t, get(locked.Attrs(ctx))(t).RetentionPolicy.IsLocked, true)
	_, err = locked.Update(ctx, storage.BucketAttrsToUpdate{RetentionPolicy: &storage.RetentionPolicy{}})
	refusedHttp(t, err, 403, "")
}

func TestStorageBucketsOfAProject(t *testing.T) {
	rule := storage.LifecycleRule{
		Action:    storage.LifecycleAction{Type: storage.DeleteAction},
		Condition: storage.LifecycleCondition{AgeInDays: 3},
	}
	bucket := newBucket(t, &storage.BucketAttrs{
		Location: "US", Lifecycle: storage.Lifecycle{Rules: []storage.LifecycleRule{rule}},
	})
	api, name := storageApi(t), bucket.BucketName()
	layout := get(api.Buckets.GetStorageLayout(name).Do())(t)
	equal(t, []string{layout.Bucket, layout.Location, layout.LocationType}, []string{name, "US", "multi-region"})
	replaced := get(api.Buckets.Update(name, &storageapi.Bucket{Labels: map[string]string{"c": "3"}}).Do())(t)
	equal(t, replaced.Labels, map[string]string{"c": "3"})
	equal(t, replaced.Lifecycle == nil, true)
	all := names(all(t, storageClient(t).Buckets(ctx, project).Next), func(each *storage.BucketAttrs) string { return each.Name })
	contains(t, all, name)
	account := get(storageClient(t).ServiceAccount(ctx, project))(t)
	equal(t, strings.HasPrefix(account, "service-"), true)
}

func TestStorageGrpcIsNotEmulated(t *testing.T) {
	client := get(storage.NewGRPCClient(ctx))(t)
	soon, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := client.Bucket("validibot-local").Attrs(soon)
	refused(t, err, codes.Unimplemented, "")
}

func sorted(found []string) []string { return slices.Sorted(slices.Values(found)) }

package clients

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"cloud.google.com/go/storage/transfermanager"
)

func TestStorageReadsByBothApis(t *testing.T) {
	bucket := newBucket(t, nil)
	write(t, bucket.Object("a b/ü+%.txt"), "hello")
	for _, way := range []func() (*storage.Client, error){
		func() (*storage.Client, error) { return storage.NewClient(ctx, storage.WithJSONReads()) },
		func() (*storage.Client, error) { return storage.NewClient(ctx, storage.WithXMLReads()) },
	} {
		reader := get(get(way())(t).Bucket(bucket.BucketName()).Object("a b/ü+%.txt").NewRangeReader(ctx, 1, 3))(t)
		equal(t, []any{reader.Attrs.Size, reader.Remain()}, []any{int64(5), int64(3)})
		ok(t, reader.Close())
	}
}

func TestStorageTransferManager(t *testing.T) {
	bucket := newBucket(t, nil)
	for _, name := range []string{"d/one", "d/two", "other"} {
		write(t, bucket.Object(name), "data of "+name)
	}
	downloader := get(transfermanager.NewDownloader(storageClient(t), transfermanager.WithPartSize(4)))(t)
	folder := t.TempDir()
	ok(t, downloader.DownloadDirectory(ctx, &transfermanager.DownloadDirectoryInput{
		Bucket: bucket.BucketName(), Prefix: "d/", LocalDirectory: folder,
		OnObjectDownload: func(*transfermanager.DownloadOutput) {},
	}))
	equal(t, len(get(downloader.WaitAndClose())(t)), 2)
	equal(t, string(get(os.ReadFile(filepath.Join(folder, "d", "two")))(t)), "data of d/two")
}

func TestStorageRefusesWhatItDoesNotEmulate(t *testing.T) {
	bucket := newBucket(t, nil)
	object := bucket.Object("object")
	write(t, object, "data")
	_, err := object.Update(ctx, storage.ObjectAttrsToUpdate{
		Retention: &storage.ObjectRetention{Mode: "Unlocked", RetainUntil: time.Now().Add(time.Hour)},
	})
	refusedHttp(t, err, 400, "retention")
	_, err = bucket.Update(ctx, storage.BucketAttrsToUpdate{Autoclass: &storage.Autoclass{Enabled: true}})
	refusedHttp(t, err, 400, "autoclass")
	_, err = object.Key(make([]byte, 32)).NewReader(ctx)
	refusedHttp(t, err, 400, "")
}

package clients

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging"
	loggingapi "cloud.google.com/go/logging/apiv2"
	"cloud.google.com/go/logging/apiv2/loggingpb"
	"cloud.google.com/go/logging/logadmin"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

func configClient(t *testing.T) *loggingapi.ConfigClient {
	t.Helper()
	return get(loggingapi.NewConfigClient(ctx))(t)
}

func entry(log, data string) *loggingpb.WriteLogEntriesRequest {
	return &loggingpb.WriteLogEntriesRequest{
		LogName: parent + "/logs/" + log, Resource: &monitoredres.MonitoredResource{Type: "global"},
		Labels: map[string]string{"common": "1"},
		Entries: []*loggingpb.LogEntry{{
			Payload: &loggingpb.LogEntry_TextPayload{TextPayload: data}, Labels: map[string]string{"own": "2"},
		}},
	}
}

func TestLoggingLibraryWritesAndReads(t *testing.T) {
	t.Parallel()
	client := get(logging.NewClient(ctx, project))(t)
	admin := get(logadmin.NewClient(ctx, project))(t)
	id := fresh("go")
	logger := client.Logger(id, logging.CommonLabels(map[string]string{"a": "1"}))
	logger.Log(logging.Entry{Severity: logging.Warning, Payload: map[string]any{"size": 3, "text": "full"}, InsertID: "1"})
	logger.Log(logging.Entry{Severity: logging.Debug, Payload: "plain", Trace: "projects/p/traces/1"})
	ok(t, logger.Flush())
	ok(t, logger.LogSync(ctx, logging.Entry{Severity: logging.Error, Payload: "at once"}))
	ok(t, client.Ping(ctx))
	name := `logName="` + parent + "/logs/" + id + `"`
	read := func(filter string) []*logging.Entry {
		t.Helper()
		return all(t, admin.Entries(ctx, logadmin.Filter(name+" "+filter)).Next)
	}
	equal(t, len(read("")), 3)
	warning := read("jsonPayload.size>2")
	equal(t, len(warning), 1)
	equal(t, []any{warning[0].Severity, warning[0].Labels["a"], warning[0].InsertID}, []any{logging.Warning, "1", "1"})
	equal(t, len(read(`severity>=WARNING`)), 2)
	equal(t, read(`textPayload:"PLAIN"`)[0].Trace, "projects/p/traces/1")
	_, err := admin.Entries(ctx, logadmin.Filter("severity >")).Next()
	refused(t, err, codes.InvalidArgument, "ilter: syntax error at line 1")
	contains(t, all(t, admin.Logs(ctx).Next), id)
	ok(t, admin.DeleteLog(ctx, id))
	equal(t, len(read("")), 0)
	descriptors := names(all(t, admin.ResourceDescriptors(ctx).Next), (*monitoredres.MonitoredResourceDescriptor).GetType)
	contains(t, descriptors, "cloud_run_job", "cloud_run_revision", "global")
	ok(t, client.Close())
}

func TestLoggingWritesListsAndTails(t *testing.T) {
	t.Parallel()
	client := get(loggingapi.NewClient(ctx))(t)
	id := fresh("go")
	stream := get(client.TailLogEntries(ctx))(t)
	ok(t, stream.Send(&loggingpb.TailLogEntriesRequest{
		ResourceNames: []string{parent}, Filter: "log_id(" + id + ")", BufferWindow: durationpb.New(0),
	}))
	written, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		for { // a tail begins some time after its request was sent
			client.WriteLogEntries(ctx, entry(id, "tailed"))
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	var tailed []*loggingpb.LogEntry
	for len(tailed) == 0 {
		tailed = get(stream.Recv())(t).Entries
	}
	close(stop)
	<-written
	ok(t, stream.CloseSend())
	equal(t, tailed[0].GetTextPayload(), "tailed")
	equal(t, tailed[0].Labels, map[string]string{"common": "1", "own": "2"})

	get(client.WriteLogEntries(ctx, entry(id, "last")))(t)
	newest := client.ListLogEntries(ctx, &loggingpb.ListLogEntriesRequest{
		ResourceNames: []string{parent}, Filter: "log_id(" + id + ")", OrderBy: "timestamp desc", PageSize: 1,
	})
	equal(t, get(newest.Next())(t).GetTextPayload(), "last")
	equal(t, get(newest.Next())(t).GetTextPayload(), "tailed")
	wrong := entry(id, "x")
	wrong.LogName = "no log"
	refused(t, failed(client.WriteLogEntries(ctx, wrong)), codes.InvalidArgument, "")
	dry := entry(fresh("go"), "x")
	dry.DryRun = true
	get(client.WriteLogEntries(ctx, dry))(t)
	missing := &loggingpb.DeleteLogRequest{LogName: dry.LogName}
	refused(t, client.DeleteLog(ctx, missing), codes.NotFound, "")
	guest := get(loggingapi.NewClient(ctx, as(t, "guest")))(t)
	refused(t, failed(guest.WriteLogEntries(ctx, entry(id, "x"))), codes.PermissionDenied, "logging.logEntries.create")
	ok(t, client.DeleteLog(ctx, &loggingpb.DeleteLogRequest{LogName: parent + "/logs/" + id}))
}

func TestLoggingSinksPublish(t *testing.T) {
	topic := newTopic(t, nil)
	subscription := newSubscription(t, topic, nil)
	client, id, log := configClient(t), fresh("go"), fresh("go")
	sink := &loggingpb.LogSink{
		Name: id, Destination: "pubsub.googleapis.com/" + topic, Filter: "log_id(" + log + ")",
		Exclusions: []*loggingpb.LogExclusion{{Name: "quiet", Filter: `textPayload="quiet"`}},
	}
	create := &loggingpb.CreateSinkRequest{Parent: parent, Sink: sink, UniqueWriterIdentity: true}
	made := get(client.CreateSink(ctx, create))(t)
	refused(t, failed(client.CreateSink(ctx, create)), codes.AlreadyExists, "")
	grantTopic(t, topic, "roles/pubsub.publisher", made.WriterIdentity)
	writer := get(loggingapi.NewClient(ctx))(t)
	get(writer.WriteLogEntries(ctx, entry(log, "quiet")))(t)
	get(writer.WriteLogEntries(ctx, entry(log, "loud")))(t)
	equal(t, strings.Contains(data(pullOne(t, subscription)), "loud"), true)
	name := parent + "/sinks/" + id
	changed := get(client.UpdateSink(ctx, &loggingpb.UpdateSinkRequest{
		SinkName: name, Sink: &loggingpb.LogSink{Name: id, Disabled: true, Destination: sink.Destination}, UpdateMask: mask("disabled"),
		UniqueWriterIdentity: true,
	}))(t)
	equal(t, []any{changed.Disabled, changed.Filter}, []any{true, sink.Filter})
	equal(t, get(client.GetSink(ctx, &loggingpb.GetSinkRequest{SinkName: name}))(t), changed)
	sinks := all(t, client.ListSinks(ctx, &loggingpb.ListSinksRequest{Parent: parent, PageSize: 1}).Next)
	contains(t, names(sinks, (*loggingpb.LogSink).GetName), id, "_Default", "_Required")
	ok(t, client.DeleteSink(ctx, &loggingpb.DeleteSinkRequest{SinkName: name}))
	refused(t, failed(client.GetSink(ctx, &loggingpb.GetSinkRequest{SinkName: name})), codes.NotFound, "")
	refused(t, client.DeleteSink(ctx, &loggingpb.DeleteSinkRequest{SinkName: parent + "/sinks/_Required"}), codes.PermissionDenied, "_Required cannot be deleted")
}

func TestLoggingBucketsAndViews(t *testing.T) {
	client, id := configClient(t), fresh("go")
	bucket := get(client.CreateBucket(ctx, &loggingpb.CreateBucketRequest{
		Parent: place, BucketId: id, Bucket: &loggingpb.LogBucket{RetentionDays: 3},
	}))(t)
	equal(t, []any{bucket.Name, bucket.RetentionDays, bucket.LifecycleState},
		[]any{place + "/buckets/" + id, int32(3), loggingpb.LifecycleState_ACTIVE})
	changed := get(client.UpdateBucket(ctx, &loggingpb.UpdateBucketRequest{
		Name: bucket.Name, Bucket: &loggingpb.LogBucket{RetentionDays: 4, Description: "d"}, UpdateMask: mask("retention_days"),
	}))(t)
	equal(t, []any{changed.RetentionDays, changed.Description}, []any{int32(4), ""})
	equal(t, get(client.GetBucket(ctx, &loggingpb.GetBucketRequest{Name: bucket.Name}))(t), changed)
	buckets := all(t, client.ListBuckets(ctx, &loggingpb.ListBucketsRequest{Parent: parent + "/locations/-"}).Next)
	contains(t, names(buckets, (*loggingpb.LogBucket).GetName), bucket.Name, parent+"/locations/global/buckets/_Default")

	view := get(client.CreateView(ctx, &loggingpb.CreateViewRequest{
		Parent: bucket.Name, ViewId: "mine", View: &loggingpb.LogView{Filter: `log_id("stdout")`},
	}))(t)
	updated := get(client.UpdateView(ctx, &loggingpb.UpdateViewRequest{
		Name: view.Name, View: &loggingpb.LogView{Description: "d", Filter: "x"}, UpdateMask: mask("description"),
	}))(t)
	equal(t, []string{updated.Description, updated.Filter}, []string{"d", `log_id("stdout")`})
	equal(t, get(client.GetView(ctx, &loggingpb.GetViewRequest{Name: view.Name}))(t), updated)
	views := all(t, client.ListViews(ctx, &loggingpb.ListViewsRequest{Parent: bucket.Name}).Next)
	contains(t, names(views, (*loggingpb.LogView).GetName), view.Name, bucket.Name+"/views/_AllLogs")
	ok(t, client.DeleteView(ctx, &loggingpb.DeleteViewRequest{Name: view.Name}))
	refused(t, failed(client.GetView(ctx, &loggingpb.GetViewRequest{Name: view.Name})), codes.NotFound, "")

	ok(t, client.DeleteBucket(ctx, &loggingpb.DeleteBucketRequest{Name: bucket.Name}))
	deleted := get(client.GetBucket(ctx, &loggingpb.GetBucketRequest{Name: bucket.Name}))(t)
	equal(t, deleted.LifecycleState, loggingpb.LifecycleState_DELETE_REQUESTED)
	ok(t, client.UndeleteBucket(ctx, &loggingpb.UndeleteBucketRequest{Name: bucket.Name}))
	ok(t, client.DeleteBucket(ctx, &loggingpb.DeleteBucketRequest{Name: bucket.Name}))
	_, err := client.UpdateBucket(ctx, &loggingpb.UpdateBucketRequest{
		Name: parent + "/locations/global/buckets/_Required", Bucket: &loggingpb.LogBucket{RetentionDays: 4},
		UpdateMask: mask("retention_days"),
	})
	refused(t, err, codes.FailedPrecondition, "locked")
}

func TestLoggingMetrics(t *testing.T) {
	client := get(logadmin.NewClient(ctx, project, as(t, "deployer")))(t)
	id := fresh("go")
	ok(t, client.CreateMetric(ctx, &logadmin.Metric{ID: id, Description: "d", Filter: "severity>=ERROR"}))
	err := client.CreateMetric(ctx, &logadmin.Metric{ID: id, Filter: "severity>=ERROR"})
	refused(t, err, codes.AlreadyExists, "")
	ok(t, client.UpdateMetric(ctx, &logadmin.Metric{ID: id, Filter: "severity>=ALERT"}))
	found := get(client.Metric(ctx, id))(t)
	equal(t, []string{found.Filter, found.Description}, []string{"severity>=ALERT", ""})
	metrics := all(t, client.Metrics(ctx).Next)
	contains(t, names(metrics, func(each *logadmin.Metric) string { return each.ID }), id)
	refused(t, client.UpdateMetric(ctx, &logadmin.Metric{ID: id, Filter: "severity>="}), codes.InvalidArgument, "")
	ok(t, client.DeleteMetric(ctx, id))
	_, err = client.Metric(ctx, id)
	refused(t, err, codes.NotFound, "")
}

func TestLoggingExclusionsAndSettings(t *testing.T) {
	client, id := configClient(t), fresh("go")
	create := &loggingpb.CreateExclusionRequest{Parent: parent, Exclusion: &loggingpb.LogExclusion{
		Name: id, Filter: "log_id(" + id + ") severity<ERROR",
	}}
	made := get(client.CreateExclusion(ctx, create))(t)
	refused(t, failed(client.CreateExclusion(ctx, create)), codes.AlreadyExists, "already exists")
	writer := get(loggingapi.NewClient(ctx))(t)
	get(writer.WriteLogEntries(ctx, entry(id, "excluded")))(t)
	name := parent + "/exclusions/" + id
	changed := get(client.UpdateExclusion(ctx, &loggingpb.UpdateExclusionRequest{
		Name: name, Exclusion: &loggingpb.LogExclusion{Disabled: true, Description: "d"}, UpdateMask: mask("disabled"),
	}))(t)
	equal(t, []any{changed.Disabled, changed.Filter, changed.Description}, []any{true, made.Filter, ""})
	get(writer.WriteLogEntries(ctx, entry(id, "kept")))(t)
	entries := all(t, writer.ListLogEntries(ctx, &loggingpb.ListLogEntriesRequest{
		ResourceNames: []string{parent}, Filter: "log_id(" + id + ")",
	}).Next)
	equal(t, names(entries, (*loggingpb.LogEntry).GetTextPayload), []string{"kept"})
	equal(t, get(client.GetExclusion(ctx, &loggingpb.GetExclusionRequest{Name: name}))(t), changed)
	exclusions := all(t, client.ListExclusions(ctx, &loggingpb.ListExclusionsRequest{Parent: parent, PageSize: 1}).Next)
	contains(t, names(exclusions, (*loggingpb.LogExclusion).GetName), id)
	ok(t, client.DeleteExclusion(ctx, &loggingpb.DeleteExclusionRequest{Name: name}))
	refused(t, failed(client.GetExclusion(ctx, &loggingpb.GetExclusionRequest{Name: name})), codes.NotFound, "does not exist")

	settings := get(client.GetSettings(ctx, &loggingpb.GetSettingsRequest{Name: parent}))(t)
	keys := get(client.GetCmekSettings(ctx, &loggingpb.GetCmekSettingsRequest{Name: parent}))(t)
	equal(t, []string{settings.Name, settings.KmsServiceAccountId}, []string{parent + "/settings", keys.ServiceAccountId})
	_, err := client.UpdateSettings(ctx, &loggingpb.UpdateSettingsRequest{Name: parent, Settings: settings})
	refused(t, err, codes.InvalidArgument, "for organizations and folders only")
}

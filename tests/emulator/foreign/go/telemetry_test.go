package clients

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/logadmin"
	monitoring "cloud.google.com/go/monitoring/apiv3/v2"
	"cloud.google.com/go/monitoring/apiv3/v2/monitoringpb"
	trace "cloud.google.com/go/trace/apiv1"
	"cloud.google.com/go/trace/apiv1/tracepb"
	tracewriter "cloud.google.com/go/trace/apiv2"
	tracev2 "cloud.google.com/go/trace/apiv2/tracepb"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/oauth"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const endpoint = "telemetry.googleapis.com"

func shop(extra ...attribute.KeyValue) *resource.Resource {
	return resource.NewSchemaless(append(extra,
		attribute.String("gcp.project_id", project), attribute.String("service.name", "go-shop"))...)
}

// span sends one span by an exporter, and returns its trace.
func span(t *testing.T, exporter sdktrace.SpanExporter, from *resource.Resource) (string, error) {
	t.Helper()
	var failure error
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(from))
	_, made := provider.Tracer("tests").Start(ctx, "sell")
	made.SetAttributes(attribute.String("colour", "red"))
	made.End()
	failure = exporter.ExportSpans(ctx, []sdktrace.ReadOnlySpan{made.(sdktrace.ReadOnlySpan)})
	ok(t, exporter.Shutdown(ctx))
	id := made.SpanContext().TraceID()
	return hex.EncodeToString(id[:]), failure
}

func TestTelemetryTraces(t *testing.T) {
	source := get(google.DefaultTokenSource(ctx, scope))(t)
	byHttp := get(otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(endpoint),
		otlptracehttp.WithHTTPClient(oauth2.NewClient(ctx, source))))(t)
	byGrpc := get(otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(endpoint+":443"),
		otlptracegrpc.WithDialOption(grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: source}))))(t)
	client := get(trace.NewClient(ctx))(t)
	for _, exporter := range []sdktrace.SpanExporter{byHttp, byGrpc} {
		id, err := span(t, exporter, shop())
		ok(t, err)
		found := get(client.GetTrace(ctx, &tracepb.GetTraceRequest{ProjectId: project, TraceId: id}))(t)
		equal(t, []any{len(found.Spans), found.Spans[0].Name, found.Spans[0].Labels["colour"]}, []any{1, "sell", "red"})
	}
	again := get(otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(endpoint),
		otlptracehttp.WithHTTPClient(oauth2.NewClient(ctx, source))))(t)
	_, err := span(t, again, resource.Empty())
	if err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a span of no project is refused by %v", err)
	}
	guest := get(otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(endpoint),
		otlptracehttp.WithHTTPClient(oauth2.NewClient(ctx, tokenSource(t, "guest")))))(t)
	_, err = span(t, guest, shop())
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a guest's span is refused by %v", err)
	}
}

func TestTelemetryMetrics(t *testing.T) {
	source := get(google.DefaultTokenSource(ctx, scope))(t)
	exporter := get(otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(endpoint),
		otlpmetrichttp.WithHTTPClient(oauth2.NewClient(ctx, source))))(t)
	reader := metric.NewPeriodicReader(exporter)
	instance := fresh("go")
	provider := metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(shop(
		attribute.String("location", region), attribute.String("service.instance.id", instance))))
	counter := get(provider.Meter("tests").Int64Counter("go_sales"))(t)
	counter.Add(ctx, 3)
	ok(t, provider.Shutdown(ctx))

	client := get(monitoring.NewMetricClient(ctx))(t)
	kind := "prometheus.googleapis.com/go_sales/counter"
	descriptors := all(t, client.ListMetricDescriptors(ctx, &monitoringpb.ListMetricDescriptorsRequest{Name: parent}).Next)
	types := []string{}
	for _, each := range descriptors {
		types = append(types, each.Type)
	}
	contains(t, types, kind)
	descriptor := get(client.GetMetricDescriptor(ctx, &monitoringpb.GetMetricDescriptorRequest{
		Name: parent + "/metricDescriptors/" + kind,
	}))(t)
	equal(t, descriptor.Type, kind)
	interval := &monitoringpb.TimeInterval{
		StartTime: timestamppb.New(time.Now().Add(-time.Hour)), EndTime: timestamppb.New(time.Now().Add(time.Minute)),
	}
	series := all(t, client.ListTimeSeries(ctx, &monitoringpb.ListTimeSeriesRequest{
		Name: parent, Interval: interval, Filter: `metric.type="` + kind + `" AND resource.labels.instance="` + instance + `"`,
	}).Next)
	equal(t, len(series), 1)
	equal(t, []any{series[0].Points[0].Value.GetDoubleValue(), series[0].Resource.Labels["job"]}, []any{3.0, "go-shop"})
	_, err := client.ListTimeSeries(ctx, &monitoringpb.ListTimeSeriesRequest{Name: parent, Interval: interval, Filter: "x"}).Next()
	refused(t, err, codes.InvalidArgument, "")
	_, err = client.GetMetricDescriptor(ctx, &monitoringpb.GetMetricDescriptorRequest{Name: parent + "/metricDescriptors/none"})
	refused(t, err, codes.NotFound, "")
}

func TestTelemetryLogs(t *testing.T) {
	source := get(google.DefaultTokenSource(ctx, scope))(t)
	exporter := get(otlploghttp.New(ctx, otlploghttp.WithEndpoint(endpoint),
		otlploghttp.WithHTTPClient(oauth2.NewClient(ctx, source))))(t)
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(shop()),
		sdklog.WithProcessor(sdklog.NewSimpleProcessor(exporter)))
	id := strings.ReplaceAll(fresh("go"), "-", "_")
	record := log.Record{}
	record.SetBody(attribute.StringValue("sold"))
	record.SetSeverity(log.SeverityError)
	record.SetTimestamp(time.Now())
	record.AddAttributes(attribute.String("gcp.log_name", id))
	provider.Logger("tests").Emit(ctx, record)
	ok(t, provider.Shutdown(ctx))
	admin := get(logadmin.NewClient(ctx, project))(t)
	entries := all(t, admin.Entries(ctx, logadmin.Filter("log_id("+id+")")).Next)
	equal(t, len(entries), 1)
	equal(t, []any{entries[0].Payload, entries[0].Severity.String()}, []any{"sold", "Error"})
}

func TestTraceApis(t *testing.T) {
	client := get(trace.NewClient(ctx))(t)
	writer := get(trace.NewClient(ctx, as(t, traceWriter(t))))(t)
	id := strings.Repeat("ab", 11) + fresh("")[1:]
	now := time.Now()
	sent := &tracepb.Trace{ProjectId: project, TraceId: id, Spans: []*tracepb.TraceSpan{{
		SpanId: 7, Name: "/go", Kind: tracepb.TraceSpan_RPC_SERVER, Labels: map[string]string{"k": "v"},
		StartTime: timestamppb.New(now.Add(-time.Second)), EndTime: timestamppb.New(now),
	}}}
	ok(t, writer.PatchTraces(ctx, &tracepb.PatchTracesRequest{ProjectId: project, Traces: &tracepb.Traces{Traces: []*tracepb.Trace{sent}}}))
	equal(t, get(client.GetTrace(ctx, &tracepb.GetTraceRequest{ProjectId: project, TraceId: id}))(t).Spans[0].SpanId, uint64(7))
	traces := all(t, client.ListTraces(ctx, &tracepb.ListTracesRequest{ProjectId: project, Filter: "+root:/go latency:500ms"}).Next)
	contains(t, names(traces, (*tracepb.Trace).GetTraceId), id)
	_, err := client.GetTrace(ctx, &tracepb.GetTraceRequest{ProjectId: project, TraceId: strings.Repeat("f", 32)})
	refused(t, err, codes.NotFound, "")

	batch := get(tracewriter.NewClient(ctx, as(t, traceWriter(t))))(t)
	second := &tracev2.Span{
		Name: parent + "/traces/" + id + "/spans/000000000000000a", SpanId: "000000000000000a", ParentSpanId: "0000000000000007",
		DisplayName: &tracev2.TruncatableString{Value: "below"},
		StartTime:   timestamppb.New(now.Add(-time.Second)), EndTime: timestamppb.New(now),
	}
	ok(t, batch.BatchWriteSpans(ctx, &tracev2.BatchWriteSpansRequest{Name: parent, Spans: []*tracev2.Span{second}}))
	third := proto.CloneOf(second)
	third.SpanId = "000000000000000b"
	third.Name = parent + "/traces/" + id + "/spans/" + third.SpanId
	equal(t, get(batch.CreateSpan(ctx, third))(t), third)
	equal(t, len(get(client.GetTrace(ctx, &tracepb.GetTraceRequest{ProjectId: project, TraceId: id}))(t).Spans), 3)
	refused(t, client.PatchTraces(ctx, &tracepb.PatchTracesRequest{ProjectId: project, Traces: &tracepb.Traces{Traces: []*tracepb.Trace{sent}}}),
		codes.PermissionDenied, "cloudtrace.traces.patch")
}

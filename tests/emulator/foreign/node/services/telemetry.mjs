import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import { Metadata } from '@grpc/grpc-js';
import logging from '@google-cloud/logging';
import monitoring from '@google-cloud/monitoring';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { OTLPTraceExporter as GrpcTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { GoogleAuth } from 'google-auth-library';
import { HttpsProxyAgent } from 'https-proxy-agent';
import traceApi from 'googleapis/build/src/apis/cloudtrace/index.js';

import { asGuest, parent, project, refused, region, rest, SCOPE, unique } from '../support.mjs';

const resource = resourceFromAttributes({
  'gcp.project_id': project,
  'service.name': 'node',
  'service.instance.id': 'one',
  'cloud.region': region,
  location: region,
});
const headersOf = async options => {
  const client = await new GoogleAuth({ scopes: [SCOPE], ...options }).getClient();
  const headers = await client.getRequestHeaders();
  return { authorization: headers.get('authorization'), 'x-goog-user-project': project };
};
// The exporters of OpenTelemetry do not read the variables of the proxy, so that they need an agent.
const httpAgentOptions = () => new HttpsProxyAgent(process.env.HTTPS_PROXY);
const to = (signal, headers) => ({
  url: `https://telemetry.googleapis.com/v1/${signal}`,
  headers,
  httpAgentOptions,
});

// Send a span by an exporter; return its id of the trace and the error, if there is one.
const send = async (exporter, name) => {
  let error;
  const watched = {
    export: (spans, done) =>
      exporter.export(spans, told => {
        error = told.error;
        done(told);
      }),
    shutdown: () => exporter.shutdown(),
  };
  const tracers = new BasicTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(watched)] });
  const span = tracers.getTracer('node').startSpan(name, { attributes: { colour: 'red' } });
  span.end();
  await tracers.forceFlush().catch(() => undefined);
  await tracers.shutdown();
  return { traceId: span.spanContext().traceId, error };
};

export async function exporters() {
  const headers = await headersOf();
  const metadata = new Metadata();
  metadata.set('authorization', headers.authorization);
  for (const [kind, exporter] of [
    ['http', new OTLPTraceExporter(to('traces', headers))],
    ['grpc', new GrpcTraceExporter({ url: 'https://telemetry.googleapis.com:443', metadata })],
  ]) {
    const { traceId, error } = await send(exporter, kind);
    assert.equal(error, undefined);
    const { data: trace } = await rest(traceApi, 'v1').projects.traces.get({ projectId: project, traceId });
    assert.deepEqual(
      trace.spans.map(each => [each.name, each.labels.colour]),
      [[kind, 'red']],
    );
  }

  const name = unique('counter').replace('-', '_');
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(to('metrics', headers)),
  });
  const meters = new MeterProvider({ resource, readers: [reader] });
  meters.getMeter('node').createCounter(name).add(3, { colour: 'red' });
  await meters.forceFlush();
  const metrics = new monitoring.MetricServiceClient();
  const [found] = await metrics.listMetricDescriptors({ name: parent });
  const seen = found.map(each => each.type).filter(each => each.includes(name));
  assert.equal(seen.length, 1, String(seen));
  const interval = {
    startTime: { seconds: Math.floor(Date.now() / 1000) - 600 },
    endTime: { seconds: Math.floor(Date.now() / 1000) + 60 },
  };
  const [series] = await metrics.listTimeSeries({
    name: parent,
    filter: `metric.type="${seen[0]}"`,
    interval,
    view: 'FULL',
  });
  assert.deepEqual(
    series.map(each => [
      each.metric.labels.colour,
      each.resource.type,
      each.points[0].value.doubleValue ?? Number(each.points[0].value.int64Value),
    ]),
    [['red', 'prometheus_target', 3]],
  );
  const [descriptor] = await metrics.getMetricDescriptor({ name: `${parent}/metricDescriptors/${seen[0]}` });
  assert.deepEqual([descriptor.metricKind, descriptor.type], ['CUMULATIVE', seen[0]]);
  await refused(metrics.listTimeSeries({ name: parent, filter: 'colour', interval }), 3, /[fF]ilter/);

  const logName = unique('otlp');
  const loggers = new LoggerProvider({
    resource,
    processors: [new SimpleLogRecordProcessor({ exporter: new OTLPLogExporter(to('logs', headers)) })],
  });
  loggers
    .getLogger('node')
    .emit({ severityNumber: 17, body: 'broken', attributes: { 'gcp.log_name': logName } });
  await loggers.forceFlush();
  const [entries] = await new logging.v2.LoggingServiceV2Client().listLogEntries({
    resourceNames: [parent],
    filter: `logName="${parent}/logs/${logName}"`,
  });
  assert.deepEqual(
    entries.map(each => [each.severity, each.textPayload]),
    [['ERROR', 'broken']],
  );
  await Promise.all([meters.shutdown(), loggers.shutdown()]);
}

export async function refusals() {
  const { error: forbidden } = await send(
    new OTLPTraceExporter(to('traces', await headersOf(await asGuest()))),
    'refused',
  );
  assert.equal(forbidden.code, 403);
  assert.match(String(forbidden.data), /telemetry.traces.write/);
  const { error: nobody } = await send(new OTLPTraceExporter(to('traces', {})), 'refused');
  assert.equal(nobody.code, 401);
}

export async function cloudTrace() {
  const { projects } = rest(traceApi, 'v1');
  const traceId = randomBytes(16).toString('hex');
  const times = { startTime: new Date(Date.now() - 1000).toISOString(), endTime: new Date().toISOString() };
  const traces = [{ projectId: project, traceId, spans: [{ spanId: '1', name: `v1-${traceId}`, ...times }] }];
  await projects.patchTraces({ projectId: project, requestBody: { traces } });
  const second = rest(traceApi, 'v2').projects.traces;
  const span = {
    name: `${parent}/traces/${traceId}/spans/00000000000000aa`,
    spanId: '00000000000000aa',
    parentSpanId: '0000000000000001',
    displayName: { value: 'v2' },
    ...times,
  };
  await second.batchWrite({ name: parent, requestBody: { spans: [span] } });
  const { data: created } = await second.spans.createSpan({ name: span.name, requestBody: span });
  assert.equal(created.displayName.value, 'v2');
  await refused(
    second.batchWrite({ name: parent, requestBody: { spans: [{ ...span, name: 'x' }] } }),
    400,
    /span.name/,
  );
  const { data: trace } = await projects.traces.get({ projectId: project, traceId });
  assert.deepEqual(
    trace.spans.map(each => [each.name, each.parentSpanId]),
    [
      [`v1-${traceId}`, undefined],
      ['v2', '1'],
    ],
  );
  const { data: listed } = await projects.traces.list({
    projectId: project,
    filter: `root:v1-${traceId}`,
    view: 'ROOTSPAN',
  });
  assert.deepEqual(
    listed.traces.map(each => [each.traceId, each.spans.length]),
    [[traceId, 1]],
  );
  await refused(
    projects.traces.get({ projectId: project, traceId: randomBytes(16).toString('hex') }),
    404,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
}

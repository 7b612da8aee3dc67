import assert from 'node:assert/strict';

import { Logging, v2 } from '@google-cloud/logging';

import { asGuest, names, number, parent, project, refused, unique, until } from '../support.mjs';

const { ConfigServiceV2Client, LoggingServiceV2Client, MetricsServiceV2Client } = v2;
const CANCELLED = 1;
const one = { autoPaginate: false };

export async function entries(options) {
  const client = new LoggingServiceV2Client(options);
  const logName = `${parent}/logs/${unique('log')}`;
  const resource = { type: 'global', labels: { project_id: project } };
  const written = ['INFO', 'ERROR', 'WARNING'].map(severity => ({
    severity,
    textPayload: severity.toLowerCase(),
    labels: { n: severity },
  }));
  await client.writeLogEntries({ logName, resource, entries: written });
  await refused(client.writeLogEntries({ resource, entries: [{ textPayload: 'x' }] }), 3, /log name/);
  const filter = `logName="${logName}" AND severity>=WARNING`;
  const [found] = await client.listLogEntries({ resourceNames: [parent], filter, orderBy: 'timestamp desc' });
  assert.deepEqual(found.map(each => each.severity).sort(), ['ERROR', 'WARNING']);
  assert.ok(found[0].insertId && Number(found[0].receiveTimestamp.seconds) > 0);
  await refused(client.listLogEntries({ resourceNames: [parent], filter: 'severity>=' }), 3, /[fF]ilter/);
  const asked = { resourceNames: [parent], filter: `logName="${logName}"`, pageSize: 2 };
  const [page, , { nextPageToken }] = await client.listLogEntries(asked, one);
  const [rest] = await client.listLogEntries({ ...asked, pageToken: nextPageToken }, one);
  assert.deepEqual([...page, ...rest].map(each => each.textPayload).sort(), ['error', 'info', 'warning']);
  assert.ok((await client.listLogs({ parent }))[0].includes(logName));
  const [types] = await client.listMonitoredResourceDescriptors({});
  assert.ok(types.some(each => each.type === 'cloud_run_job'));
  const stranger = new LoggingServiceV2Client({ ...options, ...(await asGuest()) });
  await refused(
    stranger.writeLogEntries({ logName, resource, entries: [{ textPayload: 'x' }] }),
    7,
    /Permission 'logging.logEntries.create' denied/,
  );
  await client.deleteLog({ logName });
  await refused(client.deleteLog({ logName }), 5, /does not exist/);
}

export async function tail() {
  const log = new Logging().log(unique('tail'));
  const seen = [];
  const stream = new LoggingServiceV2Client()
    .tailLogEntries()
    .on('data', answer => seen.push(...answer.entries))
    .on('error', error => {
      if (error.code !== CANCELLED) throw error;
    });
  stream.write({ resourceNames: [parent], filter: `logName="${parent}/logs/${log.name}"` });
  await until(async () => {
    await log.write(
      log.entry({ severity: 'NOTICE', resource: { type: 'global' } }, { message: 'hello', n: 1 }),
    );
    return seen.length > 0;
  });
  stream.cancel();
  assert.deepEqual([seen[0].severity, seen[0].jsonPayload.fields.n.numberValue], ['NOTICE', 1]);
  const [read] = await log.getEntries();
  assert.deepEqual(read[0].data, { message: 'hello', n: 1 });
}

export async function sinks(options) {
  const client = new ConfigServiceV2Client(options);
  const name = unique('sink');
  const destination = `logging.googleapis.com/${parent}/locations/global/buckets/_Default`;
  const [sink] = await client.createSink({
    parent,
    sink: { name, destination, filter: 'severity>=ERROR' },
    uniqueWriterIdentity: true,
  });
  assert.equal(sink.name, name);
  await refused(client.createSink({ parent, sink: { name, destination } }), 6, /already exists/);
  await refused(client.createSink({ parent, sink: { name: 'a b', destination } }), 3, /name/);
  const sinkName = `${parent}/sinks/${name}`;
  const [updated] = await client.updateSink({
    sinkName,
    sink: { name, disabled: true, destination: 'ignored' },
    updateMask: { paths: ['disabled'] },
  });
  assert.deepEqual(
    [updated.disabled, updated.filter, updated.destination],
    [true, 'severity>=ERROR', destination],
  );
  const [found] = await client.getSink({ sinkName });
  assert.equal(found.disabled, true);
  const [listed] = await client.listSinks({ parent });
  assert.ok(['_Default', '_Required', name].every(each => names(listed).includes(each)));
  await client.deleteSink({ sinkName });
  await refused(client.getSink({ sinkName }), 5, /Sink .* does not exist/);
}

export async function exclusions(options) {
  const client = new ConfigServiceV2Client(options);
  const exclusion = { name: unique('exclusion'), filter: 'severity=DEBUG' };
  const name = `${parent}/exclusions/${exclusion.name}`;
  const [made] = await client.createExclusion({ parent, exclusion });
  assert.deepEqual([made.name, made.filter], [exclusion.name, exclusion.filter]);
  await refused(client.createExclusion({ parent, exclusion }), 6, /already exists/);
  const change = { name: exclusion.name, description: 'new', filter: 'ignored' };
  const updateMask = { paths: ['description'] };
  const [updated] = await client.updateExclusion({ name, exclusion: change, updateMask });
  assert.deepEqual([updated.description, updated.filter], ['new', exclusion.filter]);
  assert.equal((await client.getExclusion({ name }))[0].description, 'new');
  assert.ok(names((await client.listExclusions({ parent }))[0]).includes(exclusion.name));
  await client.deleteExclusion({ name });
  await refused(client.getExclusion({ name }), 5, /does not exist/);
}

export async function settings(options) {
  const client = new ConfigServiceV2Client(options);
  const [found] = await client.getSettings({ name: `${parent}/settings` });
  assert.equal(found.kmsServiceAccountId, `cmek-p${number}@gcp-sa-logging.iam.gserviceaccount.com`);
  const [keys] = await client.getCmekSettings({ name: `${parent}/cmekSettings` });
  assert.equal(keys.serviceAccountId, found.kmsServiceAccountId);
  const change = { name: `${parent}/settings`, settings: { disableDefaultSink: true } };
  await refused(client.updateSettings(change), 3, /organizations and folders only/);
}

export async function buckets(options) {
  const client = new ConfigServiceV2Client(options);
  const global = `${parent}/locations/global`;
  const bucketId = unique('bucket');
  const [bucket] = await client.createBucket({ parent: global, bucketId, bucket: { retentionDays: 5 } });
  assert.deepEqual([bucket.retentionDays, bucket.lifecycleState], [5, 'ACTIVE']);
  const { name } = bucket;
  await refused(client.createBucket({ parent: global, bucketId, bucket: {} }), 6, /already exists/);
  const change = { name, retentionDays: 6, description: 'ignored' };
  const [updated] = await client.updateBucket({
    name,
    bucket: change,
    updateMask: { paths: ['retention_days'] },
  });
  assert.deepEqual([updated.retentionDays, updated.description], [6, '']);
  assert.ok(
    names((await client.listBuckets({ parent: `${parent}/locations/-` }))[0]).some(each =>
      each.endsWith(bucketId),
    ),
  );

  const [made] = await client.createView({
    parent: name,
    viewId: 'mine',
    view: { filter: 'LOG_ID("stdout")' },
  });
  assert.equal(made.name, `${name}/views/mine`);
  const viewName = `${name}/views/mine`;
  const [seen] = await client.getView({ name: viewName });
  assert.equal(seen.filter, 'LOG_ID("stdout")');
  const [changed] = await client.updateView({
    name: viewName,
    view: { name: viewName, description: 'new' },
    updateMask: { paths: ['description'] },
  });
  assert.deepEqual([changed.description, changed.filter], ['new', 'LOG_ID("stdout")']);
  const [views] = await client.listViews({ parent: name });
  assert.deepEqual(
    names(views)
      .map(each => each.split('/').pop())
      .sort(),
    ['_AllLogs', 'mine'],
  );
  await client.deleteView({ name: viewName });
  await refused(client.getView({ name: viewName }), 5, /does not exist/);

  await client.deleteBucket({ name });
  assert.equal((await client.getBucket({ name }))[0].lifecycleState, 'DELETE_REQUESTED');
  await client.undeleteBucket({ name });
  assert.equal((await client.getBucket({ name }))[0].lifecycleState, 'ACTIVE');
  await refused(client.undeleteBucket({ name }), 9, /not deleted/);
  await refused(client.deleteBucket({ name: `${global}/buckets/_Default` }), 3, /_Default/);
  await client.deleteBucket({ name });
}

export async function metrics(options) {
  const client = new MetricsServiceV2Client(options);
  const name = unique('metric');
  const [metric] = await client.createLogMetric({ parent, metric: { name, filter: 'severity>=ERROR' } });
  assert.equal(metric.metricDescriptor.type, `logging.googleapis.com/user/${name}`);
  assert.equal(metric.metricDescriptor.metricKind, 'DELTA');
  await refused(client.createLogMetric({ parent, metric: { name, filter: 'x' } }), 6, /already exists/);
  const metricName = `${parent}/metrics/${name}`;
  const [updated] = await client.updateLogMetric({
    metricName,
    metric: { name, filter: 'severity=DEBUG', description: 'new' },
  });
  assert.deepEqual([updated.filter, updated.description], ['severity=DEBUG', 'new']);
  const [found] = await client.getLogMetric({ metricName });
  assert.equal(found.description, 'new');
  assert.ok(names((await client.listLogMetrics({ parent }))[0]).includes(name));
  await refused(
    client.createLogMetric({ parent, metric: { name: `${name}x`, filter: '(' } }),
    3,
    /[fF]ilter/,
  );
  await client.deleteLogMetric({ metricName });
  await refused(client.getLogMetric({ metricName }), 5, /does not exist/);
}

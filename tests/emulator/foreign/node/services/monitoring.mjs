import assert from 'node:assert/strict';

import monitoring from '@google-cloud/monitoring';

import { asGuest, names, parent, refused, unique } from '../support.mjs';

const { AlertPolicyServiceClient, MetricServiceClient, NotificationChannelServiceClient, UptimeCheckServiceClient } =
  monitoring;

export async function channels(options) {
  const client = new NotificationChannelServiceClient(options);
  const notificationChannel = {
    type: 'email',
    displayName: 'one',
    labels: { email_address: 'a@example.com' },
  };
  const [made] = await client.createNotificationChannel({ name: parent, notificationChannel });
  assert.match(made.name, /notificationChannels\/\d+$/);
  assert.equal(made.enabled.value, true);
  const wrong = { ...notificationChannel, labels: { email_address: 'nobody' } };
  await refused(
    client.createNotificationChannel({ name: parent, notificationChannel: wrong }),
    3,
    /email_address/,
  );
  const change = { name: made.name, displayName: 'two', labels: {} };
  const [updated] = await client.updateNotificationChannel({
    notificationChannel: change,
    updateMask: { paths: ['display_name'] },
  });
  assert.deepEqual([updated.displayName, updated.labels], ['two', notificationChannel.labels]);
  const [found] = await client.getNotificationChannel({ name: made.name });
  assert.equal(found.displayName, 'two');
  assert.ok(names((await client.listNotificationChannels({ name: parent }))[0]).includes(made.name));

  const policies = new AlertPolicyServiceClient(options);
  const condition = {
    displayName: 'errors',
    conditionThreshold: {
      filter: 'metric.type="run.googleapis.com/request_count" AND resource.type="cloud_run_revision"',
      comparison: 'COMPARISON_GT',
      thresholdValue: 1,
      duration: { seconds: 60 },
    },
  };
  const alertPolicy = {
    displayName: 'alert',
    combiner: 'OR',
    conditions: [condition],
    notificationChannels: [made.name],
  };
  const [policy] = await policies.createAlertPolicy({ name: parent, alertPolicy });
  assert.match(policy.conditions[0].name, /alertPolicies\/\d+\/conditions\/\d+$/);
  await refused(
    policies.createAlertPolicy({ name: parent, alertPolicy: { ...alertPolicy, conditions: [] } }),
    3,
    /conditions/,
  );
  const other = { name: policy.name, displayName: 'ignored', enabled: { value: false } };
  const [off] = await policies.updateAlertPolicy({ alertPolicy: other, updateMask: { paths: ['enabled'] } });
  assert.deepEqual([off.displayName, off.enabled.value], ['alert', false]);
  assert.equal((await policies.getAlertPolicy({ name: policy.name }))[0].enabled.value, false);
  assert.ok(names((await policies.listAlertPolicies({ name: parent }))[0]).includes(policy.name));
  await refused(client.deleteNotificationChannel({ name: made.name }), 9, /is used by/);
  await policies.deleteAlertPolicy({ name: policy.name });
  await refused(
    policies.getAlertPolicy({ name: policy.name }),
    5,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  await client.deleteNotificationChannel({ name: made.name });
  const stranger = new NotificationChannelServiceClient({ ...options, ...(await asGuest()) });
  await refused(
    stranger.listNotificationChannels({ name: parent }),
    7,
    /monitoring.notificationChannels.list/,
  );
}

export async function uptimeChecks(options) {
  const client = new UptimeCheckServiceClient(options);
  const monitoredResource = { type: 'uptime_url', labels: { host: 'example.com' } };
  const uptimeCheckConfig = {
    displayName: 'one',
    monitoredResource,
    httpCheck: { path: '/health', useSsl: true },
  };
  const [made] = await client.createUptimeCheckConfig({ parent, uptimeCheckConfig });
  assert.deepEqual([Number(made.period.seconds), made.httpCheck.port], [60, 443]);
  await refused(
    client.createUptimeCheckConfig({
      parent,
      uptimeCheckConfig: { ...uptimeCheckConfig, period: { seconds: 7 } },
    }),
    3,
    /period/,
  );
  const change = { name: made.name, displayName: 'two', timeout: { seconds: 5 } };
  const [updated] = await client.updateUptimeCheckConfig({
    uptimeCheckConfig: change,
    updateMask: { paths: ['display_name'] },
  });
  assert.deepEqual([updated.displayName, updated.httpCheck.path], ['two', '/health']);
  assert.equal((await client.getUptimeCheckConfig({ name: made.name }))[0].displayName, 'two');
  assert.ok(names((await client.listUptimeCheckConfigs({ parent }))[0]).includes(made.name));
  await client.deleteUptimeCheckConfig({ name: made.name });
  await refused(
    client.getUptimeCheckConfig({ name: made.name }),
    5,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
}

export async function customMetrics(options) {
  const client = new MetricServiceClient(options);
  const type = `custom.googleapis.com/${unique('orders')}`;
  const name = `${parent}/metricDescriptors/${type}`;
  const metricDescriptor = { type, metricKind: 'GAUGE', valueType: 'INT64', unit: '1' };
  const [made] = await client.createMetricDescriptor({ name: parent, metricDescriptor });
  assert.equal(made.name, name);
  const seconds = Math.floor(Date.now() / 1000);
  const series = value => ({
    metric: { type, labels: { kind: 'gift' } },
    resource: { type: 'global' },
    points: [{ interval: { endTime: { seconds } }, value }],
  });
  const write = value => client.createTimeSeries({ name: parent, timeSeries: [series(value)] });
  await write({ int64Value: 3 });
  await refused(write({ int64Value: 4 }), 3, /Points must be written in order.*timeSeries\[0\]/);
  await refused(write({ doubleValue: 4 }), 3, /must be INT64, but is DOUBLE/);
  const interval = { startTime: { seconds: seconds - 60 }, endTime: { seconds } };
  const filter = `metric.type = "${type}" AND metric.labels.kind = "gift"`;
  const [[found]] = await client.listTimeSeries({ name: parent, filter, interval });
  assert.deepEqual([Number(found.points[0].value.int64Value), found.resource.type], [3, 'global']);
  assert.deepEqual((await client.getMetricDescriptor({ name }))[0].labels.map(each => each.key), ['kind']);
  await client.deleteMetricDescriptor({ name });
  await refused(client.getMetricDescriptor({ name }), 5, /metric/);
  assert.deepEqual((await client.listTimeSeries({ name: parent, filter, interval }))[0], []);
  const stranger = new MetricServiceClient({ ...options, ...(await asGuest()) });
  await refused(
    stranger.createTimeSeries({ name: parent, timeSeries: [] }),
    7,
    /monitoring.timeSeries.create/,
  );
}

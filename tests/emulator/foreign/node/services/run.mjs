import assert from 'node:assert/strict';

import { Logging } from '@google-cloud/logging';
import run from '@google-cloud/run';
import { SecretManagerServiceClient } from '@google-cloud/secret-manager';
import { GoogleAuth, OAuth2Client } from 'google-auth-library';

import {
  app,
  asGuest,
  checkPolicy,
  last,
  names,
  number,
  parent,
  place,
  refused,
  region,
  unique,
  until,
} from '../support.mjs';

const template = (image, more = {}) => ({
  template: { containers: [{ image }], maxRetries: 0, serviceAccount: app, ...more },
});

export async function jobs(options) {
  const client = new run.JobsClient(options);
  const jobId = unique('job');
  const name = `${place}/jobs/${jobId}`;
  const [creating] = await client.createJob({
    parent: place,
    jobId,
    job: { template: template('done:1'), labels: { a: '1' } },
  });
  const [made] = await creating.promise();
  assert.deepEqual([made.name, made.labels, Number(made.generation)], [name, { a: '1' }, 1]);
  assert.equal(made.template.template.containers[0].resources.limits.memory, '512Mi');
  await refused(
    client.createJob({ parent: place, jobId, job: { template: template('done:1') } }),
    6,
    /already exists/,
  );
  await refused(
    client.createJob({ parent: place, jobId: 'A', job: { template: template('done:1') } }),
    3,
    /job_id: only lowercase letters, digits and hyphens/,
  );
  const [updating] = await client.updateJob({ job: { ...made, labels: { a: '2' } } });
  assert.equal(Number((await updating.promise())[0].generation), 2);
  await refused(client.updateJob({ job: { ...made } }), 10, /Conflict for resource/);
  const [found] = await client.getJob({ name });
  assert.equal(found.labels.a, '2');
  assert.ok(names((await client.listJobs({ parent: place }))[0]).includes(name));
  await checkPolicy(client, name, 'roles/run.viewer', 'run.jobs.run');
  const stranger = new run.JobsClient({ ...options, ...(await asGuest()) });
  assert.equal((await stranger.getJob({ name }))[0].name, name);
  await refused(stranger.runJob({ name }), 7, /Permission 'run.jobs.run' denied on resource/);

  const [running] = await client.runJob({
    name,
    overrides: { containerOverrides: [{ env: [{ name: 'A', value: '1' }] }], taskCount: 2 },
  });
  const [execution] = await running.promise();
  assert.deepEqual([execution.succeededCount, execution.taskCount], [2, 2]);
  const executions = new run.ExecutionsClient(options);
  const [ended] = await executions.getExecution({ name: execution.name });
  assert.equal(ended.conditions.find(each => each.type === 'Completed').state, 'CONDITION_SUCCEEDED');
  assert.deepEqual(names((await executions.listExecutions({ parent: name }))[0]), [execution.name]);
  const tasks = new run.TasksClient(options);
  const [listed] = await tasks.listTasks({ parent: execution.name });
  assert.deepEqual(listed.map(each => each.index).sort(), [0, 1]);
  const [task] = await tasks.getTask({ name: listed[0].name });
  assert.deepEqual([task.lastAttemptResult.exitCode, task.execution], [0, last(execution.name)]);
  await refused(
    executions.getExecution({ name: `${name}/executions/none` }),
    5,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  const [removing] = await executions.deleteExecution({ name: execution.name });
  await removing.promise();
  await refused(
    executions.getExecution({ name: execution.name }),
    5,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  const [deleting] = await client.deleteJob({ name });
  await deleting.promise();
  await refused(client.getJob({ name }), 5, new RegExp(jobId));
}

export async function output(options) {
  const client = new run.JobsClient(options);
  const jobId = unique('output');
  const name = `${place}/jobs/${jobId}`;
  await (
    await client.createJob({ parent: place, jobId, job: { template: template('json:1') } })
  )[0].promise();
  const [execution] = await (await client.runJob({ name }))[0].promise();
  const logging = new Logging();
  const filter = `resource.type="cloud_run_job" AND resource.labels.job_name="${jobId}" AND severity=ERROR`;
  const [entry] = await until(async () => {
    const [found] = await logging.getEntries({ filter });
    return found.length > 0 && found;
  });
  assert.deepEqual(entry.data, { message: 'broken', step: 3 });
  assert.equal(entry.metadata.labels['run.googleapis.com/execution_name'], last(execution.name));
  assert.equal(entry.metadata.resource.labels.location, region);
  await (await client.deleteJob({ name }))[0].promise();
}

export async function secrets() {
  const client = new run.JobsClient();
  const manager = new SecretManagerServiceClient();
  const secretId = unique('of-job');
  const [secret] = await manager.createSecret({
    parent,
    secretId,
    secret: { replication: { automatic: {} } },
  });
  const jobId = unique('secretive');
  const name = `${place}/jobs/${jobId}`;
  const env = [
    { name: 'TOLD', valueSource: { secretKeyRef: { secret: secretId, version: 'latest' } } },
    { name: 'FILE', value: '/told/here' },
  ];
  const volumes = [{ name: 'told', secret: { secret: secretId, items: [{ path: 'here', version: 'latest' }] } }];
  const volumeMounts = [{ name: 'told', mountPath: '/told' }];
  const containers = [{ image: 'env:1', env, volumeMounts }];
  const job = { template: template('env:1', { containers, volumes }) };
  await manager.addSecretVersion({ parent: secret.name, payload: { data: Buffer.from('value') } });
  await (await client.updateJob({ job: { ...job, name }, allowMissing: true }))[0].promise();
  const [execution] = await (await client.runJob({ name }))[0].promise();
  assert.equal(execution.succeededCount, 1);
  await manager.deleteSecret({ name: secret.name });
  await (await client.deleteJob({ name }))[0].promise();
}

export async function cancellation(options) {
  const client = new run.JobsClient(options);
  const executions = new run.ExecutionsClient(options);
  const jobId = unique('sleeper');
  const name = `${place}/jobs/${jobId}`;
  await (
    await client.createJob({ parent: place, jobId, job: { template: template('sleeper:1') } })
  )[0].promise();
  const [running] = await client.runJob({ name });
  const execution = running.metadata.name;
  const operations = client.operationsClient;
  const [operation] = await operations.getOperation({ name: running.name });
  assert.equal(operation.done, false);
  const [cancelling] = await executions.cancelExecution({ name: execution });
  const [cancelled] = await cancelling.promise();
  assert.equal(cancelled.cancelledCount, 1);
  assert.equal((await running.promise())[0].cancelledCount, 1);
  const found = [];
  for await (const each of operations.listOperationsAsync({ name: place })) found.push(each.name);
  assert.ok(found.includes(running.name), String(found));
  await operations.deleteOperation({ name: running.name });
  await refused(
    operations.getOperation({ name: running.name }),
    5,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  await (await client.deleteJob({ name }))[0].promise();
}

export async function services(options) {
  const client = new run.ServicesClient(options);
  const serviceId = unique('service');
  const name = `${place}/services/${serviceId}`;
  const containers = [{ image: 'echo-server:1', env: [{ name: 'GREETING', value: 'one' }] }];
  const service = { template: { containers, serviceAccount: app } };
  const [creating] = await client.createService({ parent: place, serviceId, service });
  const [made] = await creating.promise();
  assert.equal(made.urls[0], `https://${serviceId}-${number}.${region}.run.app`);
  await refused(client.createService({ parent: place, serviceId, service }), 6, /already exists/);
  await refused(
    client.createService({ parent: place, serviceId: 'A_', service }),
    3,
    /only lowercase, digits, and hyphens/,
  );
  const auth = new GoogleAuth();
  const caller = await auth.getIdTokenClient(made.uri);
  const traceparent = `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`;
  const { data: sent } = await caller.request({ url: `${made.uri}/headers`, headers: { traceparent } });
  const headers = typeof sent === 'string' ? JSON.parse(sent) : sent;
  assert.equal(headers.traceparent, traceparent);
  assert.equal(headers['x-cloud-trace-context'].split('/')[0], 'c'.repeat(32));
  const variables = async () => JSON.parse((await caller.request({ url: `${made.uri}/env` })).data);
  const { GREETING, K_SERVICE } = await variables();
  assert.deepEqual([GREETING, K_SERVICE], ['one', serviceId]);
  const { transporter } = new OAuth2Client();
  const nobody = await transporter.request({
    url: `${made.uri}/env`,
    headers: { authorization: 'Bearer no' },
    validateStatus: () => true,
  });
  assert.equal(nobody.status, 401);

  const [before] = await client.getService({ name });
  containers[0].env[0].value = 'two';
  const [updating] = await client.updateService({
    service: { ...before, template: { containers, serviceAccount: app } },
  });
  await updating.promise();
  await refused(client.updateService({ service: before }), 10, /Conflict for resource/);
  assert.equal((await variables()).GREETING, 'two');
  assert.ok(names((await client.listServices({ parent: place }))[0]).includes(name));
  await checkPolicy(client, name, 'roles/run.invoker', 'run.routes.invoke');

  const revisions = new run.RevisionsClient(options);
  const [listed] = await revisions.listRevisions({ parent: name });
  assert.equal(listed.length, 2);
  const old = listed.find(each => each.name === before.latestReadyRevision);
  const [found] = await revisions.getRevision({ name: old.name });
  assert.equal(last(found.service), serviceId);
  const [removing] = await revisions.deleteRevision({ name: old.name });
  await removing.promise();
  await refused(
    revisions.getRevision({ name: old.name }),
    5,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  const stranger = new run.ServicesClient({ ...options, ...(await asGuest()) });
  await refused(stranger.getService({ name }), 7, /Permission 'run.services.get' denied/);
  const [deleting] = await client.deleteService({ name });
  await deleting.promise();
  await refused(client.getService({ name }), 5, new RegExp(serviceId));
}

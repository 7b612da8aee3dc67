import assert from 'node:assert/strict';

import { CloudTasksClient } from '@google-cloud/tasks';

import { app, asGuest, checkPolicy, last, parent, place, refused, unique } from '../support.mjs';

const url = 'http://127.0.0.1:1/';
const later = () => ({ seconds: Math.floor(Date.now() / 1000) + 600 });

export async function queues(options) {
  const client = new CloudTasksClient(options);
  const name = `${place}/queues/${unique('queue')}`;
  const [queue] = await client.createQueue({
    parent: place,
    queue: { name, rateLimits: { maxDispatchesPerSecond: 5 } },
  });
  assert.equal(queue.state, 'RUNNING');
  assert.equal(queue.rateLimits.maxBurstSize, 10);
  assert.equal(queue.retryConfig.maxAttempts, 100);
  await refused(client.createQueue({ parent: place, queue: { name } }), 6, /already exists/);
  await refused(
    client.createQueue({ parent: place, queue: { name: `${place}/queues/a_b` } }),
    3,
    /Queue name must be formatted/,
  );
  const change = {
    name,
    retryConfig: { maxAttempts: 3, maxDoublings: 1 },
    rateLimits: { maxDispatchesPerSecond: 1 },
  };
  const [updated] = await client.updateQueue({
    queue: change,
    updateMask: { paths: ['retry_config.max_attempts'] },
  });
  assert.equal(updated.retryConfig.maxAttempts, 3);
  assert.equal(updated.retryConfig.maxDoublings, 16);
  assert.equal(updated.rateLimits.maxDispatchesPerSecond, 5);
  assert.equal((await client.pauseQueue({ name }))[0].state, 'PAUSED');
  assert.equal((await client.getQueue({ name }))[0].state, 'PAUSED');
  assert.equal((await client.resumeQueue({ name }))[0].state, 'RUNNING');
  const [listed] = await client.listQueues({ parent: place });
  assert.ok(listed.some(each => each.name === name));
  await checkPolicy(client, name, 'roles/cloudtasks.viewer', 'cloudtasks.tasks.create');

  const [task] = await client.createTask({
    parent: name,
    task: { httpRequest: { url }, scheduleTime: later() },
  });
  const [purged] = await client.purgeQueue({ name });
  assert.ok(purged.purgeTime.seconds > 0);
  await refused(client.getTask({ name: task.name }), 5, /The task no longer exists/);
  await client.deleteQueue({ name });
  await refused(client.getQueue({ name }), 5, /Queue does not exist/);
}

export async function tasks(options) {
  const client = new CloudTasksClient(options);
  const queue = `${place}/queues/${unique('tasks')}`;
  await client.createQueue({ parent: place, queue: { name: queue } });
  const name = `${queue}/tasks/named`;
  const body = Buffer.from('hello').toString('base64');
  const httpRequest = { url, body, oidcToken: { serviceAccountEmail: app } };
  const [task] = await client.createTask({
    parent: queue,
    task: { name, httpRequest, scheduleTime: later() },
  });
  assert.equal(task.httpRequest.httpMethod, 'POST');
  assert.equal(task.view, 'BASIC');
  assert.equal(task.httpRequest.body.length, 0);
  const [full] = await client.getTask({ name, responseView: 'FULL' });
  assert.equal(Buffer.from(full.httpRequest.body).toString(), 'hello');
  await refused(client.createTask({ parent: queue, task: { name, httpRequest } }), 6, /already exists/);
  await refused(client.createTask({ parent: queue, task: { httpRequest: { url: 'ftp://x' } } }), 3, /url/i);

  const [second] = await client.createTask({
    parent: queue,
    task: { httpRequest: { url }, scheduleTime: later() },
  });
  const options1 = { autoPaginate: false };
  const [first, , { nextPageToken }] = await client.listTasks({ parent: queue, pageSize: 1 }, options1);
  assert.equal(first.length, 1);
  const [rest] = await client.listTasks({ parent: queue, pageSize: 1, pageToken: nextPageToken }, options1);
  assert.deepEqual([...first, ...rest].map(each => each.name).sort(), [name, second.name].sort());

  const [ran] = await client.runTask({ name: second.name });
  assert.equal(ran.name, second.name);
  await client.deleteTask({ name });
  await refused(client.createTask({ parent: queue, task: { name, httpRequest } }), 6, /already exists/);
  await refused(
    client.deleteTask({ name }),
    5,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  const stranger = new CloudTasksClient({ ...options, ...(await asGuest()) });
  await refused(
    stranger.createTask({ parent: queue, task: { httpRequest: { url } } }),
    7,
    /lacks IAM permission "cloudtasks.tasks.create"/,
  );
  await client.deleteQueue({ name: queue });
}

export async function locations(options) {
  const client = new CloudTasksClient(options);
  const [found] = await client.getLocation({ name: place });
  assert.equal(found.locationId, last(place));
  const listed = [];
  for await (const each of client.listLocationsAsync({ name: parent })) listed.push(each.name);
  assert.deepEqual(listed, [place]);
}

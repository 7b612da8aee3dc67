// Requests of the emulated services to a server of this program, and what they show of their sender.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { v1 } from '@google-cloud/pubsub';
import { CloudSchedulerClient } from '@google-cloud/scheduler';
import { Storage } from '@google-cloud/storage';
import { CloudTasksClient } from '@google-cloud/tasks';
import { OAuth2Client } from 'google-auth-library';
import tasksApi from 'googleapis/build/src/apis/cloudtasks/index.js';

import { app, bytes, last, number, parent, place, refused, rest, unique, until } from '../support.mjs';

const audience = 'https://worker.example';
// A trace goes on where it is told to: the services pass it as it is.
const traceparent = `00-${'c'.repeat(32)}-${'d'.repeat(16)}-01`;
const oidcToken = { serviceAccountEmail: app, audience };

// Run something with the URL of a server, which answers with the next of `statuses`, then with 200; the
// requests that it has had are the second argument.
const withServer = async (run, statuses = []) => {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    requests.push({ method: request.method, path: request.url, headers: request.headers, body });
    response.writeHead(statuses.shift() ?? 200).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  try {
    await run(`http://127.0.0.1:${server.address().port}`, requests);
  } finally {
    server.closeAllConnections();
    server.close();
  }
};

const senderOf = async request => {
  const idToken = request.headers.authorization.split(' ')[1];
  return (await new OAuth2Client().verifyIdToken({ idToken, audience })).getPayload().email;
};

export const tasks = () =>
  withServer(
    async (url, requests) => {
      const client = new CloudTasksClient();
      const name = `${place}/queues/${unique('delivered')}`;
      await client.createQueue({ parent: place, queue: { name } });
      const httpRequest = {
        url: `${url}/run`,
        body: bytes('hello').toString('base64'),
        headers: { 'X-Mine': '1', traceparent },
        oidcToken,
      };
      const [task] = await client.createTask({ parent: name, task: { httpRequest } });
      await until(() => requests.length === 2);
      const [first, second] = requests;
      assert.deepEqual(
        [first.method, first.path, first.body, first.headers['x-mine'], first.headers.traceparent],
        ['POST', '/run', 'hello', '1', traceparent],
      );
      assert.equal(await senderOf(first), app);
      assert.equal(first.headers['x-cloudtasks-queuename'], last(name));
      assert.equal(first.headers['x-cloudtasks-taskname'], last(task.name));
      assert.equal(first.headers['x-cloudtasks-taskretrycount'], '0');
      assert.equal(second.headers['x-cloudtasks-taskretrycount'], '1');
      assert.equal(second.headers['x-cloudtasks-taskpreviousresponse'], '503');
      assert.equal(second.headers['user-agent'], 'Google-Cloud-Tasks');
      const httpTarget = {
        uriOverride: { pathOverride: { path: '/all' }, queryOverride: { queryParams: 'a=1' } },
        headerOverrides: [{ header: { key: 'X-Mine', value: '2' } }],
      };
      // Node's client for gRPC does not have the field yet.
      const { queues } = rest(tasksApi, 'v2').projects.locations;
      await queues.patch({ name, updateMask: 'httpTarget', requestBody: { httpTarget } });
      await client.createTask({ parent: name, task: { httpRequest } });
      await until(() => requests.length === 3);
      assert.deepEqual([requests[2].path, requests[2].headers['x-mine']], ['/all?a=1', '2']);
      await client.deleteQueue({ name });
    },
    [503],
  );

export const schedules = () =>
  withServer(async (url, requests) => {
    const client = new CloudSchedulerClient();
    const name = `${place}/jobs/${unique('delivered')}`;
    const httpTarget = { uri: `${url}/tick`, body: bytes('now'), headers: { traceparent }, oidcToken };
    await client.createJob({ parent: place, job: { name, schedule: '0 0 1 1 *', httpTarget } });
    await client.runJob({ name });
    await until(() => requests.length === 1);
    const [request] = requests;
    assert.deepEqual([request.method, request.path, request.body], ['POST', '/tick', 'now']);
    assert.equal(await senderOf(request), app);
    assert.equal(request.headers.traceparent, traceparent);
    assert.equal(request.headers['x-cloudscheduler'], 'true');
    assert.equal(request.headers['x-cloudscheduler-jobname'], last(name));
    assert.equal(request.headers['user-agent'], 'Google-Cloud-Scheduler');
    await client.deleteJob({ name });
  });

export const pushes = () =>
  withServer(
    async (url, requests) => {
      const [publisher, subscriber] = [new v1.PublisherClient(), new v1.SubscriberClient()];
      const topic = `${parent}/topics/${unique('pushed')}`;
      const name = `${parent}/subscriptions/${unique('pushed')}`;
      await publisher.createTopic({ name: topic });
      const pushConfig = { pushEndpoint: `${url}/push`, oidcToken };
      const retryPolicy = { minimumBackoff: { seconds: 0 }, maximumBackoff: { seconds: 1 } };
      await subscriber.createSubscription({ name, topic, pushConfig, retryPolicy });
      const message = { data: bytes('hello'), attributes: { a: '1' } };
      const [{ messageIds }] = await publisher.publish({ topic, messages: [message] });
      await until(() => requests.length === 2);
      const [, request] = requests;
      assert.deepEqual([request.method, request.path], ['POST', '/push']);
      assert.equal(await senderOf(request), app);
      const sent = JSON.parse(request.body);
      assert.deepEqual([sent.subscription, sent.message.messageId], [name, messageIds[0]]);
      assert.deepEqual(
        [sent.message.data, sent.message.attributes],
        [bytes('hello').toString('base64'), { a: '1' }],
      );
      await subscriber.deleteSubscription({ subscription: name });
      await publisher.deleteTopic({ topic });
    },
    [500],
  );

// A subscription writes its messages to Cloud Storage, once there are enough of them.
export async function files() {
  const [publisher, subscriber] = [new v1.PublisherClient(), new v1.SubscriberClient()];
  const topic = `${parent}/topics/${unique('filed')}`;
  const name = `${parent}/subscriptions/${unique('filed')}`;
  const [bucket] = await new Storage().createBucket(unique('filed'));
  await publisher.createTopic({ name: topic });
  const cloudStorageConfig = { bucket: bucket.name, filenamePrefix: 'in/', maxBytes: 1000 };
  const subscription = { name, topic, cloudStorageConfig };
  await refused(subscriber.createSubscription(subscription), 7, /storage.buckets.get/);
  const members = [`serviceAccount:service-${number}@gcp-sa-pubsub.iam.gserviceaccount.com`];
  const [policy] = await bucket.iam.getPolicy({ requestedPolicyVersion: 3 });
  policy.bindings.push({ role: 'roles/storage.objectCreator', members });
  policy.bindings.push({ role: 'roles/storage.legacyBucketReader', members });
  await bucket.iam.setPolicy(policy);
  const [made] = await subscriber.createSubscription(subscription);
  assert.equal(made.cloudStorageConfig.state, 'ACTIVE');
  await publisher.publish({ topic, messages: [{ data: bytes('x'.repeat(1000)) }] });
  const file = await until(async () => (await bucket.getFiles({ prefix: 'in/' }))[0][0]);
  assert.equal((await file.download()).toString(), `${'x'.repeat(1000)}\n`);
  await refused(subscriber.pull({ subscription: name, maxMessages: 1 }), 9, /not supported/);
  await subscriber.deleteSubscription({ subscription: name });
  await publisher.deleteTopic({ topic });
}

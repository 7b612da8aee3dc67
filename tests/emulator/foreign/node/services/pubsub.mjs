import assert from 'node:assert/strict';
import { once } from 'node:events';

import { PubSub, v1 } from '@google-cloud/pubsub';

import {
  app,
  asGuest,
  bytes,
  checkPolicy,
  last,
  names,
  number,
  parent,
  project,
  refused,
  unique,
  until,
} from '../support.mjs';

const { PublisherClient, SchemaServiceClient, SubscriberClient } = v1;
const AVRO = JSON.stringify({ type: 'record', name: 'R', fields: [{ name: 'a', type: 'int' }] });
const AVRO_2 = JSON.stringify({
  type: 'record',
  name: 'R',
  fields: [
    { name: 'a', type: 'int' },
    { name: 'b', type: 'int', default: 1 },
  ],
});
const one = { autoPaginate: false };

export async function topics(options) {
  const publisher = new PublisherClient(options);
  const subscriber = new SubscriberClient(options);
  const name = `${parent}/topics/${unique('topic')}`;
  const [topic] = await publisher.createTopic({ name, labels: { a: '1' } });
  assert.deepEqual([topic.name, topic.labels, topic.state], [name, { a: '1' }, 'ACTIVE']);
  await refused(
    publisher.createTopic({ name }),
    6,
    new RegExp(`Resource already exists in the project \\(resource=${last(name)}\\)`),
  );
  await refused(
    publisher.createTopic({ name: `${parent}/topics/a` }),
    3,
    /Invalid resource name given \(name=/,
  );
  await refused(
    publisher.getTopic({ topic: `${name}x` }),
    5,
    new RegExp(`Resource not found \\(resource=${last(name)}x\\)`),
  );
  const change = { name, labels: { b: '2' }, messageRetentionDuration: { seconds: 1200 } };
  const [updated] = await publisher.updateTopic({
    topic: change,
    updateMask: { paths: ['message_retention_duration'] },
  });
  assert.deepEqual([updated.labels, Number(updated.messageRetentionDuration.seconds)], [{ a: '1' }, 1200]);
  await refused(publisher.updateTopic({ topic: { name }, updateMask: { paths: [] } }), 3, /update_mask/);
  const short = { name, messageRetentionDuration: { seconds: 60 } };
  await refused(
    publisher.updateTopic({ topic: short, updateMask: { paths: ['message_retention_duration'] } }),
    3,
    /[rR]etention/,
  );
  assert.equal((await publisher.getTopic({ topic: name }))[0].messageRetentionDuration.seconds, '1200');
  assert.ok(names((await publisher.listTopics({ project: parent }))[0]).includes(name));

  await refused(publisher.publish({ topic: name, messages: [{}] }), 3, /must contain either non-empty data/);
  const subscriptions = [
    `${parent}/subscriptions/${last(name)}-a`,
    `${parent}/subscriptions/${last(name)}-b`,
  ];
  for (const each of subscriptions) await subscriber.createSubscription({ name: each, topic: name });
  const [page, , { nextPageToken }] = await publisher.listTopicSubscriptions(
    { topic: name, pageSize: 1 },
    one,
  );
  const [rest] = await publisher.listTopicSubscriptions(
    { topic: name, pageSize: 1, pageToken: nextPageToken },
    one,
  );
  assert.deepEqual([...page, ...rest].sort(), subscriptions);
  await checkPolicy(publisher, name, 'roles/pubsub.publisher', 'pubsub.topics.publish');
  const stranger = new PublisherClient({ ...options, ...(await asGuest()) });
  assert.equal(
    (await stranger.publish({ topic: name, messages: [{ data: bytes('x') }] }))[0].messageIds.length,
    1,
  );
  await refused(stranger.getTopic({ topic: name }), 7, /User not authorized to perform this action/);

  await publisher.detachSubscription({ subscription: subscriptions[0] });
  const [detached] = await subscriber.getSubscription({ subscription: subscriptions[0] });
  assert.equal(detached.detached, true);
  await refused(subscriber.pull({ subscription: subscriptions[0], maxMessages: 1 }), 9, /detached/i);
  await publisher.deleteTopic({ topic: name });
  const [orphan] = await subscriber.getSubscription({ subscription: subscriptions[1] });
  assert.equal(orphan.topic, '_deleted-topic_');
  for (const subscription of subscriptions) await subscriber.deleteSubscription({ subscription });
}

export async function subscriptions(options) {
  const publisher = new PublisherClient(options);
  const subscriber = new SubscriberClient(options);
  const topic = `${parent}/topics/${unique('topic')}`;
  const name = `${parent}/subscriptions/${unique('subscription')}`;
  await publisher.createTopic({ name: topic });
  await refused(subscriber.createSubscription({ name, topic: `${topic}x` }), 5, /Resource not found/);
  const [made] = await subscriber.createSubscription({ name, topic });
  assert.deepEqual([made.ackDeadlineSeconds, Number(made.messageRetentionDuration.seconds)], [10, 604800]);
  assert.equal(Number(made.expirationPolicy.ttl.seconds), 2678400);
  await refused(subscriber.createSubscription({ name, topic }), 6, /Resource already exists/);
  const change = { name, ackDeadlineSeconds: 30, labels: { a: 'b' }, filter: 'attributes:x' };
  const [updated] = await subscriber.updateSubscription({
    subscription: change,
    updateMask: { paths: ['ack_deadline_seconds'] },
  });
  assert.deepEqual([updated.ackDeadlineSeconds, updated.labels], [30, {}]);
  await refused(
    subscriber.updateSubscription({ subscription: change, updateMask: { paths: ['filter'] } }),
    3,
    /filter/,
  );
  assert.ok(names((await subscriber.listSubscriptions({ project: parent }))[0]).includes(name));

  await publisher.publish({
    topic,
    messages: ['1', '2'].map(data => ({ data: bytes(data), attributes: { n: data } })),
  });
  const [{ receivedMessages }] = await subscriber.pull({ subscription: name, maxMessages: 10 });
  assert.deepEqual(receivedMessages.map(each => each.message.data.toString()).sort(), ['1', '2']);
  const [first, second] = receivedMessages;
  await subscriber.acknowledge({ subscription: name, ackIds: [first.ackId] });
  await subscriber.modifyAckDeadline({ subscription: name, ackIds: [second.ackId], ackDeadlineSeconds: 0 });
  const [again] = await subscriber.pull({ subscription: name, maxMessages: 10 });
  assert.deepEqual(
    again.receivedMessages.map(each => each.message.messageId),
    [second.message.messageId],
  );
  await refused(subscriber.acknowledge({ subscription: name, ackIds: [] }), 3, /[aA]ck ids/);
  await subscriber.acknowledge({ subscription: name, ackIds: [again.receivedMessages[0].ackId] });

  await subscriber.seek({ subscription: name, time: { seconds: Math.floor(Date.now() / 1000) + 60 } });
  await checkPolicy(subscriber, name, 'roles/pubsub.subscriber', 'pubsub.subscriptions.consume');
  const pushConfig = { pushEndpoint: 'http://127.0.0.1:1/', oidcToken: { serviceAccountEmail: app } };
  await subscriber.modifyPushConfig({ subscription: name, pushConfig });
  const [pushed] = await subscriber.getSubscription({ subscription: name });
  assert.equal(pushed.pushConfig.oidcToken.serviceAccountEmail, app);
  await subscriber.modifyPushConfig({ subscription: name, pushConfig: {} });
  await subscriber.deleteSubscription({ subscription: name });
  await refused(subscriber.getSubscription({ subscription: name }), 5, /Resource not found/);
  await publisher.deleteTopic({ topic });
}

export async function snapshots(options) {
  const publisher = new PublisherClient(options);
  const subscriber = new SubscriberClient(options);
  const topic = `${parent}/topics/${unique('topic')}`;
  const subscription = `${parent}/subscriptions/${unique('subscription')}`;
  const name = `${parent}/snapshots/${unique('snapshot')}`;
  await publisher.createTopic({ name: topic });
  await subscriber.createSubscription({ name: subscription, topic });
  await publisher.publish({ topic, messages: [{ data: bytes('kept') }] });
  const [snapshot] = await subscriber.createSnapshot({ name, subscription, labels: { a: '1' } });
  assert.deepEqual([snapshot.topic, snapshot.labels], [topic, { a: '1' }]);
  const [got] = await subscriber.pull({ subscription, maxMessages: 1 });
  await subscriber.acknowledge({ subscription, ackIds: [got.receivedMessages[0].ackId] });
  await subscriber.seek({ subscription, snapshot: name });
  const [again] = await subscriber.pull({ subscription, maxMessages: 1 });
  assert.equal(again.receivedMessages[0].message.data.toString(), 'kept');

  const [updated] = await subscriber.updateSnapshot({
    snapshot: { name, labels: { b: '2' } },
    updateMask: { paths: ['labels'] },
  });
  assert.deepEqual(updated.labels, { b: '2' });
  const [found] = await subscriber.getSnapshot({ snapshot: name });
  assert.deepEqual(found.labels, { b: '2' });
  assert.deepEqual((await publisher.listTopicSnapshots({ topic }))[0], [name]);
  assert.ok(names((await subscriber.listSnapshots({ project: parent }))[0]).includes(name));
  await checkPolicy(subscriber, name, 'roles/pubsub.viewer', 'pubsub.snapshots.seek');
  await refused(subscriber.createSnapshot({ name, subscription }), 6, /already exists/);
  await subscriber.deleteSnapshot({ snapshot: name });
  await refused(subscriber.seek({ subscription, snapshot: name }), 5, /Resource not found/);
  await subscriber.deleteSubscription({ subscription });
  await publisher.deleteTopic({ topic });
}

export async function schemas(options) {
  const client = new SchemaServiceClient(options);
  const publisher = new PublisherClient(options);
  const schemaId = unique('schema');
  const type = 'AVRO';
  await client.validateSchema({ parent, schema: { type, definition: AVRO } });
  await refused(
    client.validateSchema({ parent, schema: { type, definition: '{' } }),
    3,
    /not a valid Avro schema/,
  );
  const [schema] = await client.createSchema({ parent, schemaId, schema: { type, definition: AVRO } });
  assert.equal(schema.name, `${parent}/schemas/${schemaId}`);
  assert.match(schema.revisionId, /^[0-9a-f]{8}$/);
  const message = bytes('{"a": 1}');
  await client.validateMessage({ parent, name: schema.name, message, encoding: 'JSON' });
  await refused(
    client.validateMessage({ parent, name: schema.name, message: bytes('{"a": "x"}'), encoding: 'JSON' }),
    3,
    /schema/i,
  );

  const topic = `${parent}/topics/${unique('topic')}`;
  await publisher.createTopic({ name: topic, schemaSettings: { schema: schema.name, encoding: 'JSON' } });
  await publisher.publish({ topic, messages: [{ data: message }] });
  await refused(publisher.publish({ topic, messages: [{ data: bytes('{}') }] }), 3, /schema/i);
  await publisher.deleteTopic({ topic });

  const [second] = await client.commitSchema({
    name: schema.name,
    schema: { name: schema.name, type, definition: AVRO_2 },
  });
  assert.notEqual(second.revisionId, schema.revisionId);
  const [revisions] = await client.listSchemaRevisions({ name: schema.name });
  assert.deepEqual(
    revisions.map(each => each.revisionId),
    [second.revisionId, schema.revisionId],
  );
  const [back] = await client.rollbackSchema({ name: schema.name, revisionId: schema.revisionId });
  assert.equal(back.definition, AVRO);
  assert.notEqual(back.revisionId, schema.revisionId);
  const [left] = await client.deleteSchemaRevision({ name: `${schema.name}@${second.revisionId}` });
  assert.equal(left.name.split('@')[0], schema.name);
  const [found] = await client.getSchema({ name: `${schema.name}@${schema.revisionId}` });
  assert.equal(found.definition, AVRO);
  const [listed] = await client.listSchemas({ parent });
  const [basic] = listed.filter(each => each.name === schema.name);
  assert.equal(basic.definition, '');
  await client.deleteSchema({ name: schema.name });
  await refused(client.getSchema({ name: schema.name }), 5, /Resource not found/);
}

export async function streaming() {
  const pubsub = new PubSub();
  const name = unique('stream');
  const [topic] = await pubsub.createTopic(name);
  const [dead] = await pubsub.createTopic(`${name}-dead`);
  const agent = `serviceAccount:service-${number}@gcp-sa-pubsub.iam.gserviceaccount.com`;
  const filter = 'attributes.colour = "red"';
  const deadLetterPolicy = { deadLetterTopic: dead.name, maxDeliveryAttempts: 5 };
  const [subscription] = await topic.createSubscription(name, {
    enableMessageOrdering: true,
    filter,
    deadLetterPolicy,
  });
  const [letters] = await dead.createSubscription(`${name}-dead`);
  await dead.iam.setPolicy({ bindings: [{ role: 'roles/pubsub.publisher', members: [agent] }] });
  await subscription.iam.setPolicy({ bindings: [{ role: 'roles/pubsub.subscriber', members: [agent] }] });
  const ordered = pubsub.topic(name, { messageOrdering: true });
  for (const [data, colour] of [
    ['one', 'red'],
    ['other', 'blue'],
    ['two', 'red'],
  ]) {
    await ordered.publishMessage({ data: bytes(data), attributes: { colour }, orderingKey: 'k' });
  }
  const found = [];
  let attempts = 0;
  subscription.on('message', message => {
    if (message.orderingKey) {
      found.push([message.data.toString(), message.orderingKey]);
      message.ack();
    } else {
      attempts = message.deliveryAttempt;
      message.nack();
    }
  });
  const letterArrives = once(letters, 'message');
  await topic.publishMessage({ data: bytes('bad'), attributes: { colour: 'red' } });
  await until(() => found.length === 2);
  assert.deepEqual(found, [
    ['one', 'k'],
    ['two', 'k'],
  ]);
  const [letter] = await letterArrives;
  letter.ack();
  assert.deepEqual([letter.data.toString(), attempts], ['bad', 5]);
  assert.equal(letter.attributes.CloudPubSubDeadLetterSourceSubscription, name);
  assert.equal(letter.attributes.CloudPubSubDeadLetterSourceSubscriptionProject, project);
  await Promise.all([subscription.close(), letters.close()]);
  await Promise.all([subscription.delete(), letters.delete(), topic.delete(), dead.delete()]);
  await refused(topic.publishMessage({ data: bytes('late') }), 5, /Resource not found/);
}

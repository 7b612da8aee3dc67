import assert from 'node:assert/strict';

import { PubSub } from '@google-cloud/pubsub';
import { Storage } from '@google-cloud/storage';
import storageApi from 'googleapis/build/src/apis/storage/index.js';

import { app, asGuest, guest, names, number, project, refused, rest, unique, until } from '../support.mjs';

const storage = new Storage();
const plain = { resumable: false };

export async function buckets() {
  const name = unique('node-bucket');
  const bucket = storage.bucket(name);
  await bucket.create({ location: 'US', versioning: { enabled: true }, labels: { a: '1' } });
  await refused(bucket.create(), 409, /you already own it|already own/i);
  await refused(storage.createBucket('A'), 400, /[Ii]nvalid bucket name/);
  await bucket.setMetadata({ labels: { b: '2' } });
  const [metadata] = await bucket.getMetadata();
  assert.deepEqual(
    [metadata.labels, metadata.locationType, metadata.versioning.enabled],
    [{ a: '1', b: '2' }, 'multi-region', true],
  );
  assert.equal(metadata.projectNumber, number);
  const { buckets } = rest(storageApi, 'v1');
  const { data: updated } = await buckets.update({
    bucket: name,
    requestBody: { labels: { c: '3' }, iamConfiguration: metadata.iamConfiguration },
  });
  assert.deepEqual(updated.labels, { c: '3' });
  await refused(
    buckets.patch({ bucket: name, ifMetagenerationMatch: '1', requestBody: {} }),
    412,
    /did not hold/,
  );
  const { data: layout } = await buckets.getStorageLayout({ bucket: name });
  assert.deepEqual([layout.location, layout.locationType], ['US', 'multi-region']);
  const [found] = await storage.getBuckets({ prefix: 'node-bucket' });
  assert.ok(names(found).includes(name));
  const { data: page } = await buckets.list({ project, maxResults: 1 });
  assert.equal(page.items.length, 1);
  const { data: folders } = await rest(storageApi, 'v1').managedFolders.list({ bucket: name });
  assert.equal(folders.items, undefined);
  const [account] = await storage.getServiceAccount();
  assert.equal(account.emailAddress, `service-${number}@gs-project-accounts.iam.gserviceaccount.com`);

  await bucket.addLifecycleRule({ action: { type: 'Delete' }, condition: { age: 1 } });
  await bucket.setCorsConfiguration([{ origin: ['https://a.example'], method: ['GET'], maxAgeSeconds: 60 }]);
  const [rules] = await bucket.getMetadata();
  assert.deepEqual(
    [rules.lifecycle.rule[0].condition, rules.cors[0].origin],
    [{ age: 1 }, ['https://a.example']],
  );
  await refused(
    bucket.setMetadata({ lifecycle: { rule: [{ action: { type: 'Fly' }, condition: { age: 1 } }] } }),
    400,
    /lifecycle.rule.0..action.type is 'Fly'/,
  );
  await bucket.file('x').save('x', plain);
  await refused(bucket.delete(), 409, /not empty/);
  await bucket.deleteFiles({ versions: true });
  await bucket.delete();
  await refused(bucket.getMetadata(), 404, /bucket does not exist/);
}

export async function policies() {
  const bucket = storage.bucket(unique('node-policy'));
  await bucket.create({ iamConfiguration: { uniformBucketLevelAccess: { enabled: true } } });
  const [policy] = await bucket.iam.getPolicy();
  const { etag } = policy;
  policy.bindings.push({ role: 'roles/storage.objectViewer', members: [`serviceAccount:${guest}`] });
  const [set] = await bucket.iam.setPolicy(policy);
  assert.notEqual(set.etag, etag);
  await refused(bucket.iam.setPolicy({ ...policy, etag }), 412, /did not hold/);
  const [held] = await bucket.iam.testPermissions(['storage.objects.get', 'storage.objects.create']);
  assert.deepEqual(held, { 'storage.objects.get': true, 'storage.objects.create': true });
  const stranger = new Storage(await asGuest()).bucket(bucket.name);
  await bucket.file('x').save('x', plain);
  assert.equal((await stranger.file('x').download())[0].toString(), 'x');
  await refused(
    stranger.file('y').save('y', plain),
    403,
    new RegExp(`${guest} does not have storage.objects.create access`),
  );
  await refused(bucket.file('x').makePublic(), 400, /uniform bucket-level access/);
  await bucket.deleteFiles();
  await bucket.delete();
}

export async function accessLists() {
  const bucket = storage.bucket(unique('node-lists'));
  await bucket.create({ iamConfiguration: { uniformBucketLevelAccess: { enabled: false } } });
  const entity = `user-${guest}`;
  const lists = rest(storageApi, 'v1');
  const file = bucket.file('x');
  await file.save('x', plain);
  for (const acl of [bucket.acl, bucket.acl.default, file.acl]) {
    const [added] = await acl.add({ entity, role: 'READER' });
    assert.deepEqual([added.entity, added.role], [entity, 'READER']);
    const [changed] = await acl.update({ entity, role: 'OWNER' });
    assert.equal(changed.role, 'OWNER');
    assert.equal((await acl.get({ entity }))[0].role, 'OWNER');
    assert.ok((await acl.get())[0].some(each => each.entity === entity));
    await refused(acl.add({ entity, role: 'KING' }), 400, /Invalid role 'KING'/);
  }
  const stranger = new Storage(await asGuest()).bucket(bucket.name);
  assert.equal((await stranger.file('x').download())[0].toString(), 'x');
  const of = { bucket: bucket.name, entity, requestBody: { entity, role: 'READER' } };
  for (const [each, more] of [
    ['bucketAccessControls', {}],
    ['defaultObjectAccessControls', {}],
    ['objectAccessControls', { object: 'x' }],
  ]) {
    const { data: patched } = await lists[each].patch({ ...of, ...more });
    assert.equal(patched.role, 'READER');
    const { data: updated } = await lists[each].update({ ...of, ...more });
    assert.equal(updated.role, 'READER');
  }
  for (const acl of [bucket.acl, bucket.acl.default, file.acl]) {
    await acl.delete({ entity });
    await refused(acl.get({ entity }), 404, /not (exist|found)|no entry|Cannot find|Unknown service account/);
  }
  await file.makePublic();
  assert.deepEqual(await file.isPublic(), [true]);
  await file.makePrivate();
  assert.deepEqual(await file.isPublic(), [false]);
  await bucket.deleteFiles();
  await bucket.delete();
}

export async function notifications() {
  const pubsub = new PubSub();
  const [topic] = await pubsub.createTopic(unique('notified'));
  const [subscription] = await topic.createSubscription(unique('notified'));
  const member = `serviceAccount:service-${number}@gs-project-accounts.iam.gserviceaccount.com`;
  await topic.iam.setPolicy({ bindings: [{ role: 'roles/pubsub.publisher', members: [member] }] });
  const bucket = storage.bucket(unique('node-notified'));
  await bucket.create();
  const [notification] = await bucket.createNotification(topic.name, {
    eventTypes: ['OBJECT_FINALIZE'],
    customAttributes: { a: '1' },
  });
  const [metadata] = await notification.getMetadata();
  assert.deepEqual(
    [metadata.topic, metadata.payload_format],
    [`//pubsub.googleapis.com/${topic.name}`, 'JSON_API_V1'],
  );
  assert.equal((await bucket.getNotifications())[0].length, 1);
  await refused(bucket.createNotification(`${topic.name}-none`), 404, /not found/);
  let message;
  subscription.on('message', found => {
    message = found;
    found.ack();
  });
  await bucket.file('new').save('new', plain);
  await until(() => message);
  assert.deepEqual(
    [message.attributes.eventType, message.attributes.objectId, message.attributes.a],
    ['OBJECT_FINALIZE', 'new', '1'],
  );
  assert.equal(JSON.parse(message.data.toString()).name, 'new');
  await notification.delete();
  await refused(
    notification.getMetadata(),
    404,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  await subscription.close();
  await Promise.all([subscription.delete(), topic.delete(), bucket.deleteFiles()]);
  await bucket.delete();
}

export async function hmacKeys() {
  const [key, secret] = await storage.createHmacKey(app);
  assert.equal(secret.length, 40);
  const [metadata] = await key.getMetadata();
  assert.deepEqual([metadata.state, metadata.serviceAccountEmail], ['ACTIVE', app]);
  const [keys] = await storage.getHmacKeys({ serviceAccountEmail: app });
  assert.ok(keys.some(each => each.metadata.accessId === metadata.accessId));
  await refused(key.delete(), 400, /Cannot delete HMAC key in state ACTIVE/);
  const [inactive] = await key.setMetadata({ state: 'INACTIVE' });
  assert.equal(inactive.state, 'INACTIVE');
  await key.delete();
  await refused(
    storage.hmacKey('GOOG1E').getMetadata(),
    404,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  const stranger = new Storage(await asGuest());
  await refused(stranger.createHmacKey(app), 403, /storage.hmacKeys.create/);
}

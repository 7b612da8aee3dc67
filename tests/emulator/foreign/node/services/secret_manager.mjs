import assert from 'node:assert/strict';

import { SecretManagerServiceClient } from '@google-cloud/secret-manager';

import { asGuest, bytes, checkPolicy, last, names, number, parent, refused, unique } from '../support.mjs';

const replication = { automatic: {} };

export async function versions(options) {
  const client = new SecretManagerServiceClient(options);
  const secretId = unique('versions');
  const [secret] = await client.createSecret({
    parent,
    secretId,
    secret: { replication, labels: { env: 'test' } },
  });
  assert.equal(secret.name, `projects/${number}/secrets/${secretId}`);
  await refused(client.createSecret({ parent, secretId, secret: { replication } }), 6, /already exists/);
  await refused(
    client.createSecret({ parent, secretId: 'a b', secret: { replication } }),
    3,
    /Secret ID \[a b\] does not match the expected format/,
  );

  await refused(
    client.accessSecretVersion({ name: `${secret.name}/versions/latest` }),
    5,
    /not found or has no versions/,
  );
  const wrong = { data: bytes('one'), dataCrc32c: 1 };
  await refused(client.addSecretVersion({ parent: secret.name, payload: wrong }), 3, /[cC]hecksum/);
  const [first] = await client.addSecretVersion({ parent: secret.name, payload: { data: bytes('one') } });
  const [second] = await client.addSecretVersion({ parent: secret.name, payload: { data: bytes('two') } });
  assert.equal(first.name, `${secret.name}/versions/1`);
  assert.equal(second.state, 'ENABLED');
  const [read] = await client.accessSecretVersion({ name: `${secret.name}/versions/latest` });
  assert.equal(read.name, second.name);
  assert.equal(read.payload.data.toString(), 'two');
  assert.equal(Number(read.payload.dataCrc32c), 1389933475); // crc32c of "two"

  const [page, , { nextPageToken }] = await client.listSecretVersions(
    { parent: secret.name, pageSize: 1 },
    { autoPaginate: false },
  );
  assert.deepEqual(
    page.map(each => each.name),
    [second.name],
  );
  const [rest] = await client.listSecretVersions(
    { parent: secret.name, pageSize: 1, pageToken: nextPageToken },
    { autoPaginate: false },
  );
  assert.deepEqual(
    rest.map(each => each.name),
    [first.name],
  );

  const [disabled] = await client.disableSecretVersion({ name: second.name });
  assert.equal(disabled.state, 'DISABLED');
  await refused(client.accessSecretVersion({ name: second.name }), 9, /is in DISABLED state/);
  const stale = { name: second.name, etag: second.etag };
  await refused(client.enableSecretVersion(stale), 9, /etag/);
  const [enabled] = await client.enableSecretVersion({ name: second.name });
  assert.equal(enabled.state, 'ENABLED');
  const [destroyed] = await client.destroySecretVersion({ name: first.name });
  assert.equal(destroyed.state, 'DESTROYED');
  const [kept] = await client.getSecretVersion({ name: first.name });
  assert.ok(kept.destroyTime.seconds > 0);
  await refused(client.enableSecretVersion({ name: first.name }), 9, /DESTROYED/);

  await client.deleteSecret({ name: secret.name });
  await refused(client.getSecret({ name: secret.name }), 5, /Secret \[.*\] not found/);
}

export async function settings(options) {
  const client = new SecretManagerServiceClient(options);
  const secretId = unique('settings');
  const [{ name }] = await client.createSecret({ parent, secretId, secret: { replication } });
  await client.addSecretVersion({ parent: name, payload: { data: bytes('value') } });
  const [secret] = await client.getSecret({ name });
  const change = { name, labels: { a: 'b' }, annotations: { ignored: 'x' }, versionAliases: { good: 1 } };
  const [updated] = await client.updateSecret({
    secret: change,
    updateMask: { paths: ['labels', 'version_aliases'] },
  });
  assert.deepEqual(updated.labels, { a: 'b' });
  assert.deepEqual(updated.annotations, {});
  const [found] = await client.accessSecretVersion({ name: `${name}/versions/good` });
  assert.equal(last(found.name), '1');
  const stale = { name, etag: secret.etag, labels: {} };
  await refused(client.updateSecret({ secret: stale, updateMask: { paths: ['labels'] } }), 9, /etag/);
  await refused(client.updateSecret({ secret: { name }, updateMask: { paths: ['nothing'] } }), 3, /nothing/);

  const [listed] = await client.listSecrets({ parent });
  assert.ok(listed.some(each => each.name === name));
  const filter = `name:${secretId} AND labels.a=b`;
  assert.deepEqual(names((await client.listSecrets({ parent, filter }))[0]), [name]);
  await refused(client.listSecrets({ parent, filter: 'a=' }), 3, /filter/);
  await checkPolicy(client, name, 'roles/secretmanager.viewer', 'secretmanager.versions.access');
  const stranger = new SecretManagerServiceClient({ ...options, ...(await asGuest()) });
  const [seen] = await stranger.getSecret({ name });
  assert.equal(seen.name, name);
  await refused(
    stranger.accessSecretVersion({ name: `${name}/versions/1` }),
    7,
    /Permission 'secretmanager.versions.access' denied/,
  );
  await client.deleteSecret({ name });
}

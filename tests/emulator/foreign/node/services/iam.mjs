import assert from 'node:assert/strict';
import { createVerify, X509Certificate } from 'node:crypto';

import { IAMCredentialsClient } from '@google-cloud/iam-credentials';
import iamApi from 'googleapis/build/src/apis/iam/index.js';

import { app, asGuest, guest, names, parent, project, refused, rest, SCOPE, unique } from '../support.mjs';

export async function accounts() {
  const { serviceAccounts } = rest(iamApi, 'v1').projects;
  const accountId = unique('node');
  const { data: account } = await serviceAccounts.create({
    name: parent,
    requestBody: { accountId, serviceAccount: { displayName: 'one' } },
  });
  const email = `${accountId}@${project}.iam.gserviceaccount.com`;
  const name = `${parent}/serviceAccounts/${email}`;
  assert.deepEqual(
    [account.name, account.email, account.displayName, account.projectId],
    [name, email, 'one', project],
  );
  assert.match(account.uniqueId, /^\d{21}$/);
  await refused(
    serviceAccounts.create({ name: parent, requestBody: { accountId } }),
    409,
    /Service account .* already exists within project/,
  );
  await refused(
    serviceAccounts.create({ name: parent, requestBody: { accountId: 'a' } }),
    400,
    /between 6 and 30/,
  );

  const change = {
    serviceAccount: { displayName: 'two', description: 'ignored' },
    updateMask: 'displayName',
  };
  const { data: patched } = await serviceAccounts.patch({ name, requestBody: change });
  assert.equal(patched.displayName, 'two');
  const { data: updated } = await serviceAccounts.update({
    name,
    requestBody: { displayName: 'three', etag: patched.etag },
  });
  assert.equal(updated.displayName, 'three');
  await refused(
    serviceAccounts.update({ name, requestBody: { displayName: 'four', etag: account.etag } }),
    409,
    /changed/,
  );
  const { data: found } = await serviceAccounts.get({
    name: `projects/-/serviceAccounts/${account.uniqueId}`,
  });
  assert.deepEqual([found.email, found.description], [email, undefined]);
  const { data: listed } = await serviceAccounts.list({ name: parent, pageSize: 100 });
  assert.ok(names(listed.accounts).includes(name));
  const { data: page } = await serviceAccounts.list({ name: parent, pageSize: 1 });
  assert.equal(page.accounts.length, 1);
  assert.ok(page.nextPageToken);

  await serviceAccounts.disable({ name });
  assert.equal((await serviceAccounts.get({ name })).data.disabled, true);
  await serviceAccounts.enable({ name });
  assert.equal((await serviceAccounts.get({ name })).data.disabled, undefined);
  await serviceAccounts.delete({ name });
  await refused(
    serviceAccounts.get({ name }),
    404,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  const { data: restored } = await serviceAccounts.undelete({
    name: `projects/-/serviceAccounts/${account.uniqueId}`,
  });
  assert.equal(restored.restoredAccount.email, email);
  const stranger = rest(iamApi, 'v1', await asGuest()).projects.serviceAccounts;
  await refused(stranger.get({ name }), 403, /Permission 'iam.serviceAccounts.get' denied on resource/);
  await serviceAccounts.delete({ name });
}

export async function keys() {
  const { keys } = rest(iamApi, 'v1').projects.serviceAccounts;
  const name = `${parent}/serviceAccounts/${app}`;
  const { data: key } = await keys.create({ name, requestBody: { keyAlgorithm: 'KEY_ALG_RSA_2048' } });
  const file = JSON.parse(Buffer.from(key.privateKeyData, 'base64').toString());
  assert.deepEqual([file.type, file.client_email, file.project_id], ['service_account', app, project]);
  assert.equal(key.name, `${name}/keys/${file.private_key_id}`);
  const { data: found } = await keys.get({ name: key.name, publicKeyType: 'TYPE_X509_PEM_FILE' });
  const certificate = new X509Certificate(Buffer.from(found.publicKeyData, 'base64'));
  assert.ok(certificate.publicKey);
  assert.equal(found.privateKeyData, undefined);
  const { data: listed } = await keys.list({ name, keyTypes: ['USER_MANAGED'] });
  assert.ok(names(listed.keys).includes(key.name));
  await keys.delete({ name: key.name });
  await refused(keys.get({ name: key.name }), 404, /does not exist/);
}

export async function policies() {
  const { serviceAccounts } = rest(iamApi, 'v1').projects;
  const resource = `${parent}/serviceAccounts/${guest}`;
  const { data: empty } = await serviceAccounts.getIamPolicy({ resource });
  const condition = { title: 'never', expression: 'false' };
  const role = 'roles/iam.serviceAccountUser';
  const conditional = {
    version: 3,
    etag: empty.etag,
    bindings: [{ role, members: [`serviceAccount:${guest}`], condition }],
  };
  const { data: set } = await serviceAccounts.setIamPolicy({
    resource,
    requestBody: { policy: conditional },
  });
  assert.equal(set.version, 3);
  const { data: whole } = await serviceAccounts.getIamPolicy({
    resource,
    'options.requestedPolicyVersion': 3,
  });
  assert.equal(whole.bindings[0].condition.expression, 'false');
  const { data: old } = await serviceAccounts.getIamPolicy({ resource });
  assert.match(old.bindings[0].role, /^roles\/iam.serviceAccountUser_withcond_[0-9a-f]{20}$/);
  await refused(
    serviceAccounts.setIamPolicy({ resource, requestBody: { policy: { etag: empty.etag } } }),
    409,
    /concurrent policy changes/,
  );
  const permissions = ['iam.serviceAccounts.actAs', 'iam.serviceAccounts.nothing'];
  const { data: held } = await serviceAccounts.testIamPermissions({ resource, requestBody: { permissions } });
  assert.deepEqual(held.permissions, ['iam.serviceAccounts.actAs']);
  await serviceAccounts.setIamPolicy({ resource, requestBody: { policy: { bindings: [] } } });
}

export async function roles() {
  const iam = rest(iamApi, 'v1');
  const { roles } = iam.projects;
  const roleId = unique('node').replace('-', '_');
  const role = { title: 'one', includedPermissions: ['pubsub.topics.get'], stage: 'GA' };
  const { data: made } = await roles.create({ parent, requestBody: { roleId, role } });
  const { name } = made;
  assert.deepEqual([name, made.includedPermissions], [`${parent}/roles/${roleId}`, ['pubsub.topics.get']]);
  await refused(
    roles.create({ parent, requestBody: { roleId, role } }),
    409,
    /A role named .* already exists/,
  );
  await refused(
    roles.create({
      parent,
      requestBody: { roleId: `${roleId}x`, role: { includedPermissions: ['pubsub.topics.fly'] } },
    }),
    400,
    /Permission pubsub.topics.fly is not valid/,
  );
  const { data: patched } = await roles.patch({
    name,
    updateMask: 'title',
    requestBody: { title: 'two', includedPermissions: [] },
  });
  assert.deepEqual([patched.title, patched.includedPermissions], ['two', ['pubsub.topics.get']]);
  await refused(roles.patch({ name, requestBody: { title: 'three', etag: made.etag } }), 409, /concurrent/);
  const { data: listed } = await roles.list({ parent, view: 'FULL' });
  assert.deepEqual(listed.roles.find(each => each.name === name).includedPermissions, ['pubsub.topics.get']);
  const { data: predefined } = await iam.roles.get({ name: 'roles/pubsub.publisher' });
  assert.deepEqual(predefined.includedPermissions, ['pubsub.topics.publish']);
  const fullResourceName = `//cloudresourcemanager.googleapis.com/${parent}`;
  const { data: testable } = await iam.permissions.queryTestablePermissions({
    requestBody: { fullResourceName, pageSize: 1000 },
  });
  assert.ok(names(testable.permissions).includes('pubsub.topics.get'));
  const { data: gone } = await roles.delete({ name });
  assert.equal(gone.deleted, true);
  assert.ok(!names((await roles.list({ parent })).data.roles ?? []).includes(name));
  const { data: back } = await roles.undelete({ name });
  assert.equal(back.deleted, undefined);
  await roles.delete({ name });
}

export async function credentials(options) {
  const client = new IAMCredentialsClient(options);
  const name = `projects/-/serviceAccounts/${guest}`;
  const [token] = await client.generateAccessToken({ name, scope: [SCOPE], lifetime: { seconds: 600 } });
  assert.match(token.accessToken, /^ya29\./);
  const left = Number(token.expireTime.seconds) - Date.now() / 1000;
  assert.ok(left > 500 && left < 700);
  await refused(client.generateAccessToken({ name, scope: [] }), 3, /scope/);
  await refused(
    client.generateAccessToken({ name, scope: [SCOPE], lifetime: { seconds: 7200 } }),
    3,
    /lifetime/,
  );
  const [identity] = await client.generateIdToken({
    name,
    audience: 'https://a.example',
    includeEmail: true,
  });
  const claims = JSON.parse(Buffer.from(identity.token.split('.')[1], 'base64url').toString());
  assert.deepEqual(
    [claims.aud, claims.email, claims.iss],
    ['https://a.example', guest, 'https://accounts.google.com'],
  );

  const certificates = await certificatesOf(guest);
  const [blob] = await client.signBlob({ name, payload: Buffer.from('hello') });
  const valid = (data, key, signature) =>
    createVerify('RSA-SHA256').update(data).verify(certificates[key], signature);
  assert.ok(valid('hello', blob.keyId, blob.signedBlob));
  const payload = { sub: guest, exp: Math.floor(Date.now() / 1000) + 60 };
  const [jwt] = await client.signJwt({ name, payload: JSON.stringify(payload) });
  const [head, body, signature] = jwt.signedJwt.split('.');
  assert.deepEqual(JSON.parse(Buffer.from(body, 'base64url').toString()), payload);
  assert.ok(valid(`${head}.${body}`, jwt.keyId, Buffer.from(signature, 'base64url')));
  const [short] = await client.signJwt({ name, payload: '{}' });
  const { exp } = JSON.parse(Buffer.from(short.signedJwt.split('.')[1], 'base64url').toString());
  assert.ok(Math.abs(exp - Date.now() / 1000 - 3600) < 60);
  await refused(client.signJwt({ name, payload: '{"exp": 1}' }), 3, /exp/);
  const stranger = new IAMCredentialsClient({ ...options, ...(await asGuest()) });
  await refused(
    stranger.signBlob({ name: `projects/-/serviceAccounts/${app}`, payload: Buffer.from('x') }),
    7,
    /Permission 'iam.serviceAccounts.signBlob' denied/,
  );
}

// The certificates of an account, from Google's address for them.
async function certificatesOf(email) {
  const client = await new iamApi.auth.GoogleAuth().getClient();
  return (await client.request({ url: `https://www.googleapis.com/robot/v1/metadata/x509/${email}` })).data;
}

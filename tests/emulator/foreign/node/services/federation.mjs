import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Storage } from '@google-cloud/storage';
import { GoogleAuth } from 'google-auth-library';
import iamApi from 'googleapis/build/src/apis/iam/index.js';

import { guest, number, parent, project, refused, rest, SCOPE, unique } from '../support.mjs';

const issuer = 'https://issuer.example';
const location = `projects/${number}/locations/global`;

export async function pools() {
  const { workloadIdentityPools: pools } = rest(iamApi, 'v1').projects.locations;
  const id = unique('pool');
  const name = `${location}/workloadIdentityPools/${id}`;
  const { data: made } = await pools.create({
    parent: location,
    workloadIdentityPoolId: id,
    requestBody: { displayName: 'one' },
  });
  assert.deepEqual([made.done, made.response.name, made.response.state], [true, name, 'ACTIVE']);
  await refused(
    pools.create({ parent: location, workloadIdentityPoolId: id, requestBody: {} }),
    409,
    /already exists/,
  );
  await refused(
    pools.create({ parent: location, workloadIdentityPoolId: 'a', requestBody: {} }),
    400,
    /4 to 32/,
  );
  await pools.patch({
    name,
    updateMask: 'displayName',
    requestBody: { displayName: 'two', description: 'ignored' },
  });
  const { data: pool } = await pools.get({ name });
  assert.deepEqual([pool.displayName, pool.description], ['two', undefined]);
  const { data: listed } = await pools.list({ parent: location, pageSize: 50 });
  assert.ok(listed.workloadIdentityPools.some(each => each.name === name));

  const providers = pools.providers;
  const oidc = { issuerUri: issuer, allowedAudiences: ['shop'] };
  const provider = `${name}/providers/issuer`;
  const wanted = { parent: name, workloadIdentityPoolProviderId: 'issuer' };
  await refused(providers.create({ ...wanted, requestBody: { oidc } }), 400, /attributeMapping/);
  const mapping = { 'google.subject': 'assertion.sub' };
  await providers.create({ ...wanted, requestBody: { oidc, attributeMapping: mapping } });
  await providers.patch({ name: provider, updateMask: 'disabled', requestBody: { disabled: true } });
  const { data: found } = await providers.get({ name: provider });
  assert.deepEqual([found.disabled, found.attributeMapping, found.oidc], [true, mapping, oidc]);
  const { data: all } = await providers.list({ parent: name });
  assert.deepEqual(
    all.workloadIdentityPoolProviders.map(each => each.name),
    [provider],
  );
  await providers.delete({ name: provider });
  assert.equal((await providers.get({ name: provider })).data.state, 'DELETED');
  await providers.undelete({ name: provider });
  assert.equal((await providers.get({ name: provider })).data.state, 'ACTIVE');

  await pools.delete({ name });
  assert.equal((await pools.get({ name })).data.state, 'DELETED');
  await pools.undelete({ name });
  await refused(pools.undelete({ name }), 400, /is not deleted/);
  await pools.delete({ name });
}

export async function externalAccount() {
  const { workloadIdentityPools: pools } = rest(iamApi, 'v1').projects.locations;
  const id = unique('external');
  const name = `${location}/workloadIdentityPools/${id}`;
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256', use: 'sig' }] };
  await pools.create({ parent: location, workloadIdentityPoolId: id, requestBody: {} });
  const oidc = { issuerUri: issuer, allowedAudiences: ['shop'], jwksJson: JSON.stringify(jwks) };
  await pools.providers.create({
    parent: name,
    workloadIdentityPoolProviderId: 'issuer',
    requestBody: {
      oidc,
      attributeMapping: { 'google.subject': 'assertion.sub' },
      attributeCondition: "assertion.sub != 'eve'",
    },
  });
  const member = `principal://iam.googleapis.com/${name}/subject/ada`;
  const policy = { bindings: [{ role: 'roles/iam.workloadIdentityUser', members: [member] }] };
  const resource = `${parent}/serviceAccounts/${guest}`;
  await rest(iamApi, 'v1').projects.serviceAccounts.setIamPolicy({ resource, requestBody: { policy } });

  const folder = await mkdtemp(join(tmpdir(), 'federation-'));
  const tokenOf = async subject => {
    const now = Math.floor(Date.now() / 1000);
    const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
    const unsigned = `${part({ alg: 'RS256', kid: 'k' })}.${part({ iss: issuer, aud: 'shop', sub: subject, iat: now, exp: now + 600 })}`;
    const file = join(folder, subject);
    await writeFile(
      file,
      `${unsigned}.${sign('RSA-SHA256', Buffer.from(unsigned), privateKey).toString('base64url')}`,
    );
    return file;
  };
  const credentialsOf = async subject => ({
    type: 'external_account',
    audience: `//iam.googleapis.com/${name}/providers/issuer`,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: 'https://sts.googleapis.com/v1/token',
    credential_source: { file: await tokenOf(subject) },
    service_account_impersonation_url: `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${guest}:generateAccessToken`,
  });
  const ada = new GoogleAuth({ credentials: await credentialsOf('ada'), scopes: [SCOPE] });
  assert.match(await ada.getAccessToken(), /^ya29\./);
  const storage = new Storage({ projectId: project, credentials: await credentialsOf('ada') });
  await refused(storage.getBuckets(), 403, new RegExp(`${guest} does not have storage.buckets.list access`));
  const bob = new GoogleAuth({ credentials: await credentialsOf('bob'), scopes: [SCOPE] });
  await refused(bob.getAccessToken(), 403, /iam.serviceAccounts.getAccessToken/);
  const eve = new GoogleAuth({ credentials: await credentialsOf('eve'), scopes: [SCOPE] });
  await assert.rejects(eve.getAccessToken(), /attribute condition/);
  await rm(folder, { recursive: true });
  await pools.delete({ name });
}

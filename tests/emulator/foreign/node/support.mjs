// What the programs of `services/` share: the project, a second identity, and assertions.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';

import iam from 'googleapis/build/src/apis/iam/index.js';

export const project = process.env.GOOGLE_CLOUD_PROJECT;
export const number = '123456789012';
export const region = 'us-west1';
export const parent = `projects/${project}`;
export const place = `${parent}/locations/${region}`;
export const app = `app@${project}.iam.gserviceaccount.com`;
export const guest = `guest@${project}.iam.gserviceaccount.com`;
export const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';

export const unique = prefix => `${prefix}-${randomBytes(4).toString('hex')}`;
export const names = resources => resources.map(each => each.name);
export const last = name => name.split('/').pop();
export const bytes = text => Buffer.from(text);

// The client of googleapis for an API, as the program itself or with the credentials that are given.
export const rest = (api, version, options = {}) => {
  const [make] = Object.values(api).filter(each => typeof each === 'function' && each.name !== 'AuthPlus');
  const auth = new iam.auth.GoogleAuth({ scopes: [SCOPE], ...options });
  return make({ version, auth });
};

let guestKey;
// Options of a client that is the account `guest`, which has no role: a key file's content.
export const asGuest = async () => {
  guestKey ??= rest(iam, 'v1').projects.serviceAccounts.keys.create({
    name: `${parent}/serviceAccounts/${guest}`,
  });
  const key = (await guestKey).data.privateKeyData;
  return { projectId: project, credentials: JSON.parse(Buffer.from(key, 'base64').toString()) };
};

const codeOf = error => Number(error.code ?? error.status ?? error.response?.status);

// Assert that a call fails with a code, of gRPC or HTTP, and with a text.
export const refused = async (call, code, text) => {
  const error = await call.then(
    () => assert.fail(`not refused with ${code}`),
    caught => caught,
  );
  if (error instanceof assert.AssertionError) throw error;
  assert.equal(codeOf(error), code, String(error.stack));
  assert.match(error.message, text);
  return error;
};

// Return what `ask` gives as soon as it is true.
export const until = async ask => {
  const end = Date.now() + 60_000;
  for (;;) {
    const found = await ask();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not so after a minute: ${ask}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
};

// Assert that the three methods on the policy of a resource work, with etags; `permission` is one of them.
export const checkPolicy = async (client, resource, role, permission) => {
  const binding = { role, members: [`serviceAccount:${guest}`] };
  const [empty] = await client.getIamPolicy({ resource });
  const [set] = await client.setIamPolicy({ resource, policy: { bindings: [binding], etag: empty.etag } });
  assert.deepEqual(
    set.bindings.map(({ role, members }) => ({ role, members })),
    [binding],
  );
  const [policy] = await client.getIamPolicy({ resource });
  assert.deepEqual(policy.etag, set.etag);
  assert.notDeepEqual(set.etag, empty.etag);
  await refused(
    client.setIamPolicy({ resource, policy: { bindings: [], etag: empty.etag } }),
    10,
    /concurrent policy changes/,
  );
  const permissions = [permission, 'storage.objects.nothing'];
  const [held] = await client.testIamPermissions({ resource, permissions });
  assert.deepEqual(held.permissions, [permission]);
};

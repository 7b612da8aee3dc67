import assert from 'node:assert/strict';

import { GoogleAuth, OAuth2Client } from 'google-auth-library';
import metadata from 'gcp-metadata';

import { app, asGuest, guest, number, project, refused, SCOPE } from '../support.mjs';

const audience = 'https://worker.example';

export async function metadataServer() {
  assert.equal(await metadata.isAvailable(), true);
  assert.equal(await metadata.project('project-id'), project);
  assert.equal(String(await metadata.project('numeric-project-id')), number);
  assert.equal(await metadata.instance('service-accounts/default/email'), app);
  const { access_token: token, token_type: kind } = await metadata.instance('service-accounts/default/token');
  assert.deepEqual([kind, token.startsWith('ya29.')], ['Bearer', true]);
  await assert.rejects(metadata.instance('nothing'), /404|Not Found|not found/);
}

export async function tokens() {
  const auth = new GoogleAuth({ scopes: [SCOPE] });
  assert.equal(await auth.getProjectId(), project);
  const client = await auth.getIdTokenClient(audience);
  const bearer = (await client.getRequestHeaders()).get('authorization').split(' ')[1];
  const ticket = await new OAuth2Client().verifyIdToken({ idToken: bearer, audience });
  assert.equal(ticket.getPayload().email, app);
  await assert.rejects(
    new OAuth2Client().verifyIdToken({ idToken: bearer, audience: 'https://other.example' }),
    /Wrong recipient/,
  );
  const forged = `${bearer.slice(0, -8)}AAAAAAAA`;
  await assert.rejects(
    new OAuth2Client().verifyIdToken({ idToken: forged, audience }),
    /Invalid token signature/,
  );
}

export async function keyFile() {
  const { credentials } = await asGuest();
  const auth = new GoogleAuth({ credentials, scopes: [SCOPE] });
  assert.match(await auth.getAccessToken(), /^ya29\./);
  const client = await auth.getIdTokenClient(audience);
  const bearer = (await client.getRequestHeaders()).get('authorization').split(' ')[1];
  const ticket = await new OAuth2Client().verifyIdToken({ idToken: bearer, audience });
  assert.equal(ticket.getPayload().email, guest);
  const wrong = new GoogleAuth({ credentials: { ...credentials, client_email: app }, scopes: [SCOPE] });
  await refused(wrong.getAccessToken(), 400, /invalid_grant/);
}

// Google's Node clients as a program would use them, for one account: to load them takes most of a second.
//
// Each line that it reads is a JSON array of a command and its arguments; it prints a line of JSON with
// what the command returned or why it failed. Nothing here knows of an emulator: endpoints, identity and
// trust come from the environment.
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';

import { Storage } from '@google-cloud/storage';
import tasks from '@google-cloud/tasks';
import { GoogleAuth, Impersonated } from 'google-auth-library';

const project = process.env.GOOGLE_CLOUD_PROJECT;
const place = `projects/${project}/locations/us-west1`;
const LIMIT = 120_000; // milliseconds for a program of `services/`

const storage = new Storage();
const text = buffer => buffer.toString('utf8');
const status = error => Number(error.code ?? error.status ?? error.response?.status);
const code = promise => promise.then(() => 0, status);

// Run each exported program of a file of `services/` and return those that failed.
async function check(programs) {
  const failures = {};
  for (const [name, run] of Object.entries(programs)) {
    const late = setTimeout(LIMIT, new Error(`${name} takes longer than ${LIMIT / 1000} s`), { ref: false });
    await Promise.race([run(), late.then(error => { throw error; })])
      .catch(error => { failures[name] = String(error.stack ?? error); });
  }
  return failures;
}

const commands = {
  // All services at once; what they import is loaded before, since the clients do not wait for ever
  // for an answer of the metadata server.
  async check(...services) {
    const modules = await Promise.all(services.map(service => import(`./services/${service}.mjs`)));
    const checked = await Promise.all(modules.map(check));
    return Object.fromEntries(services.map((service, at) => [service, checked[at]]));
  },

  async sign(bucket, name, version) {
    const file = storage.bucket(bucket).file(name);
    await file.save('signed', { resumable: false });
    const [url] = await file.getSignedUrl({
      version, action: 'read', expires: Date.now() + 60_000,
    });
    return url;
  },

  async keyFile(path, bucket, name) {
    const mine = new Storage({ keyFilename: path });
    await mine.bucket(bucket).file(name).save('by key', { resumable: false });
    const client = new tasks.CloudTasksClient({ keyFilename: path });
    const paused = await code(client.pauseQueue({ name: `${place}/queues/runs` }));
    const [content] = await mine.bucket(bucket).file(name).download();
    const auth = new GoogleAuth({ keyFilename: path });
    const headers = await (await auth.getIdTokenClient('https://a.example')).getRequestHeaders();
    const bearer = headers.get?.('authorization') ?? headers.Authorization;
    return { content: text(content), paused, identity: bearer.split('.').length };
  },

  async impersonate(email) {
    const sourceClient = await new GoogleAuth().getClient();
    const client = new Impersonated({
      sourceClient, targetPrincipal: email, lifetime: 600,
      targetScopes: ['https://www.googleapis.com/auth/devstorage.read_only'],
    });
    const { token } = await client.getAccessToken();
    const { keyId } = await client.sign('hello');
    const identity = await client.fetchIdToken('https://a.example', { includeEmail: true });
    return { token: token.startsWith('ya29.'), key: keyId.length, identity: identity.split('.').length };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...rest] = JSON.parse(line);
  const told = await commands[command](...rest).then(
    answer => ({ answer }), error => ({ error: String(error.stack ?? error) }));
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
process.exit(0);

// Google's Node clients as a program would use them, for one account: to load them takes most of a second.
//
// Each line that it reads is a JSON array of a command and its arguments; it prints a line of JSON with
// what the command returned or why it failed. Nothing here knows of an emulator: endpoints, identity and
// trust come from the environment.
import { createHash, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

import { PubSub } from '@google-cloud/pubsub';
import run from '@google-cloud/run';
import { Storage, TransferManager } from '@google-cloud/storage';
import tasks from '@google-cloud/tasks';
import { GoogleAuth, Impersonated } from 'google-auth-library';

const project = process.env.GOOGLE_CLOUD_PROJECT;
const place = `projects/${project}/locations/us-west1`;
const LIMIT = 120_000; // milliseconds for a program of `services/`
const MIB = 1024 * 1024;

const storage = new Storage();
const text = buffer => buffer.toString('utf8');
const digest = buffer => createHash('sha256').update(buffer).digest('hex');
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

  async save(bucket, name) {
    const file = storage.bucket(bucket).file(name);
    await file.save('hello', { contentType: 'text/plain', metadata: { metadata: { run: '1' } } });
    const [metadata] = await file.getMetadata();
    const [content] = await file.download();
    const [exists] = await file.exists();
    return {
      content: text(content), exists, size: Number(metadata.size),
      type: metadata.contentType, custom: metadata.metadata,
    };
  },

  async saveSmall(bucket, name) {
    const file = storage.bucket(bucket).file(name);
    await file.save('hello', { resumable: false });
    return text((await file.download())[0]);
  },

  async createOnly(bucket, name) {
    const file = storage.bucket(bucket).file(name);
    const options = { preconditionOpts: { ifGenerationMatch: 0 } };
    await file.save('first', options);
    const second = await code(file.save('second', options));
    return { second, content: text((await file.download())[0]) };
  },

  async large(bucket, name) {
    const data = randomBytes(9 * MIB);
    const file = storage.bucket(bucket).file(name);
    await file.save(data, { chunkSize: 2 * MIB });
    const [back] = await file.download();
    const [part] = await file.download({ start: 5, end: 8 });
    return { same: digest(back) === digest(data), part: part.equals(data.subarray(5, 9)) };
  },

  async stream(bucket, name) {
    const file = storage.bucket(bucket).file(name);
    const source = Readable.from([Buffer.alloc(700_000, 'a'), Buffer.alloc(700_000, 'b')]);
    await new Promise((resolve, reject) => {
      source.pipe(file.createWriteStream()).on('finish', resolve).on('error', reject);
    });
    let size = 0;
    for await (const chunk of file.createReadStream()) size += chunk.length;
    return size;
  },

  async gzip(bucket, name) {
    const file = storage.bucket(bucket).file(name);
    await file.save('hello '.repeat(1000), { gzip: true, contentType: 'text/plain' });
    const [metadata] = await file.getMetadata();
    const [plain] = await file.download();
    const [packed] = await file.download({ decompress: false });
    return {
      encoding: metadata.contentEncoding, plain: plain.length,
      packed: packed.equals(gzipSync(plain)) || packed.length === Number(metadata.size),
    };
  },

  async list(bucket, prefix) {
    const files = storage.bucket(bucket);
    for (const name of ['a.txt', 'b.csv', 'd/c.txt']) {
      await files.file(`${prefix}/${name}`).save(name, { resumable: false });
    }
    const names = ([found]) => found.map(file => file.name.slice(prefix.length + 1));
    const [, , page] = await files.getFiles({
      prefix: `${prefix}/`, delimiter: '/', autoPaginate: false,
    });
    return {
      first: names(await files.getFiles({ prefix: `${prefix}/`, maxResults: 2, autoPaginate: false })),
      all: names(await files.getFiles({ prefix: `${prefix}/` })),
      glob: names(await files.getFiles({ matchGlob: `${prefix}/**.txt` })),
      prefixes: page.prefixes.map(name => name.slice(prefix.length + 1)),
      versions: names(await files.getFiles({ prefix: `${prefix}/a`, versions: true })),
    };
  },

  async change(bucket, name) {
    const files = storage.bucket(bucket);
    const file = files.file(name);
    await file.save('one', { resumable: false });
    await file.setMetadata({ metadata: { state: 'new' } });
    await file.copy(files.file(`${name}-copy`));
    await files.file(`${name}-copy`).move(files.file(`${name}-moved`));
    await files.combine([file, files.file(`${name}-moved`)], files.file(`${name}-both`));
    const [both] = await files.file(`${name}-both`).download();
    const [metadata] = await files.file(`${name}-moved`).getMetadata();
    await file.delete();
    return {
      both: text(both), state: metadata.metadata.state, gone: await code(file.delete()),
      copy: (await files.file(`${name}-copy`).exists())[0],
    };
  },

  async sign(bucket, name, version) {
    const file = storage.bucket(bucket).file(name);
    await file.save('signed', { resumable: false });
    const [url] = await file.getSignedUrl({
      version, action: 'read', expires: Date.now() + 60_000,
    });
    return url;
  },

  async transfer(bucket, name, path) {
    const manager = new TransferManager(storage.bucket(bucket));
    await manager.uploadFileInChunks(path, { uploadName: name, chunkSizeBytes: 5 * MIB });
    const [metadata] = await storage.bucket(bucket).file(name).getMetadata();
    const [back] = await storage.bucket(bucket).file(name).download();
    return { size: Number(metadata.size), digest: digest(back) };
  },

  async bucket(name) {
    const bucket = storage.bucket(name);
    await bucket.create({ location: 'US', versioning: { enabled: true }, labels: { a: '1' } });
    const file = bucket.file('kept');
    await file.save('1', { resumable: false });
    await file.save('2', { resumable: false });
    const [versions] = await bucket.getFiles({ versions: true });
    await bucket.setMetadata({ labels: { b: '2' } });
    const [metadata] = await bucket.getMetadata();
    await bucket.setRetentionPeriod(1000);
    const held = await code(file.delete({ ignoreNotFound: false }).then(
      () => bucket.file('kept', { generation: versions[0].metadata.generation }).delete()));
    return {
      versions: versions.length, labels: metadata.labels, type: metadata.locationType, held,
    };
  },

  async manage(bucket, name) {
    const files = storage.bucket(bucket);
    const file = files.file(`${name}/a`);
    const [uri] = await file.createResumableUpload();
    await file.save('hello', { uri, resumable: true });
    await file.setStorageClass('nearline');
    const [metadata] = await file.getMetadata();
    await file.rename(`${name}/b`);
    const renamed = files.file(`${name}/b`);
    const refused = await code(renamed.makePublic());
    const [notifications] = await files.getNotifications();
    const missing = await code(files.file(`${name}/none`).download());
    const [buckets] = await storage.getBuckets();
    const [account] = await storage.getServiceAccount();
    await files.deleteFiles({ prefix: `${name}/` });
    const [left] = await files.getFiles({ prefix: `${name}/` });
    return {
      exists: (await files.exists())[0], class: metadata.storageClass, refused, missing,
      buckets: buckets.some(found => found.name === bucket), left: left.length,
      notifications: notifications.length,
      account: account.emailAddress.startsWith('service-'),
    };
  },

  async manageTasks(queue) {
    const client = new tasks.CloudTasksClient();
    const parent = client.queuePath(project, 'us-west1', queue);
    const scheduleTime = { seconds: Math.floor(Date.now() / 1000) + 600 };
    const httpRequest = { url: 'http://127.0.0.1:1/' };
    const [task] = await client.createTask({ parent, task: { httpRequest, scheduleTime } });
    const [listed] = await client.listTasks({ parent });
    await client.deleteTask({ name: task.name });
    const [queues] = await client.listQueues({ parent: place });
    return {
      listed: listed.some(found => found.name === task.name),
      gone: await code(client.getTask({ name: task.name })),
      queues: queues.map(found => found.name.split('/').pop()),
    };
  },

  async listJobs(job) {
    const jobs = new run.JobsClient();
    const executions = new run.ExecutionsClient();
    const [found] = await jobs.listJobs({ parent: place });
    const [started] = await executions.listExecutions({ parent: `${place}/jobs/${job}` });
    return { job: found.some(item => item.name.endsWith(job)), executions: started.length > 0 };
  },

  async createTask(queue, url) {
    const client = new tasks.CloudTasksClient();
    const parent = client.queuePath(project, 'us-west1', queue);
    const httpRequest = { url, httpMethod: 'POST', body: Buffer.from('hi').toString('base64') };
    const [task] = await client.createTask({ parent, task: { httpRequest } });
    const [found] = await client.getTask({ name: task.name }).catch(() => [task]);
    return { mine: task.name.startsWith(`${parent}/tasks/`), same: found.name === task.name };
  },

  async getQueue(queue) {
    const client = new tasks.CloudTasksClient();
    const [found] = await client.getQueue({ name: client.queuePath(project, 'us-west1', queue) });
    return found.state;
  },

  async runJob(job) {
    const client = new run.JobsClient();
    const name = client.jobPath(project, 'us-west1', job);
    const [found] = await client.getJob({ name });
    const [operation] = await client.runJob({ name });
    const executions = new run.ExecutionsClient();
    const execution = operation.metadata.name;
    const [state] = await executions.getExecution({ name: execution });
    await executions.cancelExecution({ name: execution });
    return { job: found.name === `${place}/jobs/${job}`, execution: state.name === execution };
  },

  async messages(name) {
    const pubsub = new PubSub();
    const [topic] = await pubsub.createTopic(name);
    const options = { enableMessageOrdering: true, filter: 'attributes.colour = "red"' };
    const [subscription] = await topic.createSubscription(name, options);
    const ordered = pubsub.topic(name, { messageOrdering: true });
    for (const [data, colour] of [['one', 'red'], ['other', 'blue'], ['two', 'red']]) {
      await ordered.publishMessage({
        data: Buffer.from(data), attributes: { colour }, orderingKey: 'k',
      });
    }
    const found = [];
    await new Promise((resolve, reject) => {
      subscription.on('error', reject).on('message', message => {
        found.push([text(message.data), message.orderingKey]);
        message.ack();
        if (found.length === 2) resolve();
      });
    });
    await subscription.close();
    const [subscriptions] = await topic.getSubscriptions();
    await subscription.delete();
    await topic.delete();
    const missing = await code(topic.publishMessage({ data: Buffer.from('late') }));
    return { found, subscriptions: subscriptions.length, missing };
  },

  async identity(audience) {
    const auth = new GoogleAuth({ scopes: 'https://www.googleapis.com/auth/cloud-platform' });
    const client = await auth.getIdTokenClient(audience);
    const headers = await client.getRequestHeaders();
    const bearer = headers.get?.('authorization') ?? headers.Authorization;
    const ticket = await client.verifyIdToken({ idToken: bearer.split(' ')[1], audience });
    return {
      project: await auth.getProjectId(), email: ticket.getPayload().email,
      credentials: (await auth.getCredentials()).client_email,
      token: typeof (await auth.getAccessToken()),
    };
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

// The public service: a text becomes an object and a task; its counts are served once they exist.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

import { Storage } from '@google-cloud/storage';
import { CloudTasksClient } from '@google-cloud/tasks';

const { BUCKET, CALLER, GOOGLE_CLOUD_PROJECT, PORT, REGION, WORKER_URL } = process.env;
const bucket = new Storage().bucket(BUCKET);
const tasks = new CloudTasksClient();
const parent = tasks.queuePath(GOOGLE_CLOUD_PROJECT, REGION, 'counts');

async function upload(request, response) {
  const name = randomUUID();
  await bucket.file(`texts/${name}`).save(await text(request), { resumable: false });
  const oidcToken = { serviceAccountEmail: CALLER, audience: WORKER_URL };
  const httpRequest = { url: `${WORKER_URL}/${name}`, httpMethod: 'POST', oidcToken };
  await tasks.createTask({ parent, task: { httpRequest } });
  response.writeHead(202).end(`http://localhost:${PORT}/${name}\n`);
}

async function counts(name, response) {
  const file = bucket.file(`counts/${name}.json`);
  if (!name) return response.end('POST a text here.\n');
  if (!(await file.exists())[0]) return response.writeHead(503, { 'Retry-After': '1' }).end();
  return response.end((await file.download())[0]);
}

createServer((request, response) => {
  const done = request.method === 'POST' ? upload(request, response) : counts(request.url.slice(1), response);
  done.catch(error => response.writeHead(500).end(`${error}\n`));
}).listen(PORT, '127.0.0.1');

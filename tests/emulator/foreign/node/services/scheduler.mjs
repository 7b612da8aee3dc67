import assert from 'node:assert/strict';

import { CloudSchedulerClient } from '@google-cloud/scheduler';

import { app, asGuest, parent, place, refused, unique } from '../support.mjs';

const uri = 'http://127.0.0.1:1/';

export async function jobs(options) {
  const client = new CloudSchedulerClient(options);
  const name = `${place}/jobs/${unique('job')}`;
  const httpTarget = { uri, httpMethod: 'GET', oidcToken: { serviceAccountEmail: app } };
  const job = { name, schedule: '*/5 * * * *', timeZone: 'Europe/Berlin', httpTarget };
  const [made] = await client.createJob({ parent: place, job });
  assert.equal(made.state, 'ENABLED');
  assert.equal(made.timeZone, 'Europe/Berlin');
  assert.equal(Number(made.attemptDeadline.seconds), 180);
  assert.equal(Number(made.retryConfig.maxBackoffDuration.seconds), 3600);
  assert.equal(made.scheduleTime.seconds % 300, 0);
  await refused(client.createJob({ parent: place, job }), 6, /already exists/);
  await refused(
    client.createJob({ parent: place, job: { ...job, name: `${name}x`, schedule: 'often' } }),
    3,
    /schedule/i,
  );

  const change = { name, description: 'new', schedule: '0 0 * * *' };
  const [updated] = await client.updateJob({ job: change, updateMask: { paths: ['description'] } });
  assert.equal(updated.description, 'new');
  assert.equal(updated.schedule, '*/5 * * * *');
  const [paused] = await client.pauseJob({ name });
  assert.equal(paused.state, 'PAUSED');
  await refused(client.pauseJob({ name }), 9, /ENABLED/);
  const [resumed] = await client.resumeJob({ name });
  assert.equal(resumed.state, 'ENABLED');
  const [ran] = await client.runJob({ name });
  assert.equal(ran.name, name);
  const [found] = await client.getJob({ name });
  assert.equal(found.description, 'new');
  const [listed] = await client.listJobs({ parent: place });
  assert.ok(listed.some(each => each.name === name));
  const stranger = new CloudSchedulerClient({ ...options, ...(await asGuest()) });
  await refused(
    stranger.getJob({ name }),
    7,
    /lacks IAM permission "cloudscheduler.jobs.get"|cloudscheduler.jobs.get/,
  );
  await client.deleteJob({ name });
  await refused(client.getJob({ name }), 5, /Job not found/);
}

export async function topics(options) {
  const client = new CloudSchedulerClient(options);
  const pubsubTarget = { topicName: `${parent}/topics/none`, data: Buffer.from('x') };
  const job = { name: `${place}/jobs/${unique('topic')}`, schedule: '0 * * * *', pubsubTarget };
  const [made] = await client.createJob({ parent: place, job });
  assert.equal(Buffer.from(made.pubsubTarget.data).toString(), 'x');
  assert.equal(made.timeZone, 'Etc/UTC');
  await client.deleteJob({ name: made.name });
}

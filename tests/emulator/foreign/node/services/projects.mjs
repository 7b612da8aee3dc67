import assert from 'node:assert/strict';

import { v1 } from '@google-cloud/pubsub';
import { ProjectsClient } from '@google-cloud/resource-manager';
import { ServiceUsageClient } from '@google-cloud/service-usage';
import resourceManager from 'googleapis/build/src/apis/cloudresourcemanager/index.js';
import iamApi from 'googleapis/build/src/apis/iam/index.js';

import {
  asGuest,
  checkPolicy,
  guest as guestEmail,
  number,
  parent,
  project,
  refused,
  rest,
  unique,
} from '../support.mjs';

const [DISABLED, ENABLED] = [1, 2]; // the client leaves enums in the responses of operations as numbers

export async function projects(options) {
  const client = new ProjectsClient(options);
  const [found] = await client.getProject({ name: parent });
  assert.deepEqual([found.name, found.projectId, found.state], [`projects/${number}`, project, 'ACTIVE']);
  await refused(client.getProject({ name: 'projects/elsewhere' }), 7, /elsewhere/);
  const [searched] = await client.searchProjects({ query: `projectId:${project}` });
  assert.deepEqual(
    searched.map(each => each.projectId),
    [project],
  );
  assert.deepEqual((await client.searchProjects({ query: 'projectId:elsewhere' }))[0], []);
  await refused(client.listProjects({ parent: 'organizations/1' }), 7, /The caller does not have permission/);
  await refused(client.listProjects({ parent: 'teams/1' }), 3, /parent/);
  const stranger = new ProjectsClient({ ...options, ...(await asGuest()) });
  await refused(stranger.getProject({ name: parent }), 7, /resourcemanager.projects.get/);
  assert.deepEqual((await stranger.searchProjects({}))[0], []);
}

export async function policies(options) {
  const client = new ProjectsClient(options);
  const [before] = await client.getIamPolicy({ resource: parent });
  const { bindings } = before;
  await checkPolicy(
    {
      // The policy of the project is what gives this program its rights: add to it.
      getIamPolicy: async request => client.getIamPolicy(request),
      setIamPolicy: async ({ resource, policy }) => {
        const [set] = await client.setIamPolicy({
          resource,
          policy: { ...policy, bindings: [...bindings, ...policy.bindings] },
        });
        return [{ ...set, bindings: set.bindings.filter(each => each.role === 'roles/browser') }];
      },
      testIamPermissions: request => client.testIamPermissions(request),
    },
    parent,
    'roles/browser',
    'resourcemanager.projects.get',
  );
  await client.setIamPolicy({ resource: parent, policy: { bindings } });
}

export async function conditionalRoles() {
  const client = new ProjectsClient();
  const topics = new v1.PublisherClient();
  const names = ['open', 'closed'].map(each => `${parent}/topics/${unique(each)}`);
  for (const name of names) await topics.createTopic({ name });
  const { roles } = rest(iamApi, 'v1').projects;
  const includedPermissions = ['pubsub.topics.publish'];
  const { data: role } = await roles.create({
    parent,
    requestBody: {
      roleId: unique('sender').replace('-', '_'),
      role: { title: 'Sender', includedPermissions },
    },
  });
  const condition = { title: 'one topic', expression: `resource.name == '${names[0]}'` };
  const binding = { role: role.name, members: [`serviceAccount:${guestEmail}`], condition };
  const options = { requestedPolicyVersion: 3 };
  const [before] = await client.getIamPolicy({ resource: parent, options });
  const { etag, bindings } = before;
  await refused(
    client.setIamPolicy({ resource: parent, policy: { etag, bindings: [...bindings, binding], version: 1 } }),
    3,
    /version/,
  );
  await client.setIamPolicy({
    resource: parent,
    policy: { etag, bindings: [...bindings, binding], version: 3 },
  });
  const guest = new v1.PublisherClient(await asGuest());
  const messages = [{ data: Buffer.from('x') }];
  await guest.publish({ topic: names[0], messages });
  await refused(guest.publish({ topic: names[1], messages }), 7, /not authorized/);
  await roles.delete({ name: role.name });
  await refused(guest.publish({ topic: names[0], messages }), 7, /not authorized/);
  await client.setIamPolicy({ resource: parent, policy: { bindings, version: 3 } });
  for (const topic of names) await topics.deleteTopic({ topic });
}

export async function firstVersion() {
  const { projects } = rest(resourceManager, 'v1');
  const { data: found } = await projects.get({ projectId: project });
  assert.deepEqual([found.projectNumber, found.lifecycleState], [number, 'ACTIVE']);
  const { data: listed } = await projects.list({ filter: `id:${project}` });
  assert.deepEqual(
    listed.projects.map(each => each.projectId),
    [project],
  );
}

export async function services(options) {
  const client = new ServiceUsageClient(options);
  const name = `${parent}/services/cloudtasks.googleapis.com`;
  const [found] = await client.getService({ name });
  assert.deepEqual([found.state, found.config.title], ['ENABLED', 'Cloud Tasks API']);
  const [disabling] = await client.disableService({ name });
  const [disabled] = await disabling.promise();
  assert.equal(disabled.service.state, DISABLED);
  const [listed] = await client.listServices({ parent, filter: 'state:DISABLED' });
  assert.deepEqual(
    listed.map(each => each.config.name),
    ['cloudtasks.googleapis.com'],
  );
  const [enabling] = await client.enableService({ name });
  assert.equal((await enabling.promise())[0].service.state, ENABLED);
  const serviceIds = ['run.googleapis.com', 'pubsub.googleapis.com'];
  const [batch] = await client.batchEnableServices({ parent, serviceIds });
  assert.equal((await batch.promise())[0].services.length, 2);
  const [{ services }] = await client.batchGetServices({ parent, names: [name] });
  assert.deepEqual(
    services.map(each => each.state),
    ['ENABLED'],
  );
  await refused(client.batchEnableServices({ parent, serviceIds: [] }), 3, /service_ids/);
  await refused(
    client.enableService({ name: `${parent}/services/translate.googleapis.com` }),
    9,
    /not emulated/,
  );
  const stranger = new ServiceUsageClient({ ...options, ...(await asGuest()) });
  await refused(stranger.disableService({ name }), 7, /serviceusage.services.disable|Permission denied/);
}

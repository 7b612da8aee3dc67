import assert from 'node:assert/strict';

import runApi from 'googleapis/build/src/apis/run/index.js';

import { app, asGuest, project, refused, region, rest, unique, until } from '../support.mjs';

const namespace = `namespaces/${project}`;
// Google's v1 API has the resources of a namespace at the host of a region.
const regional = async options => {
  const run = rest(runApi, 'v1', options);
  run.context._options.rootUrl = `https://${region}-run.googleapis.com/`;
  return run;
};
const metadata = name => ({ name, namespace: project });
const names = resources => resources.map(each => each.metadata.name);
const condition = (resource, type) => resource.status?.conditions?.find(each => each.type === type)?.status;

export async function services() {
  const run = await regional();
  const everywhere = rest(runApi, 'v1').projects.locations;
  const { services, routes, revisions, configurations } = run.namespaces;
  const service = unique('service');
  const name = `${namespace}/services/${service}`;
  const containers = [{ image: 'echo-server:1' }];
  const wanted = {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: metadata(service),
    spec: { template: { spec: { serviceAccountName: app, containers } } },
  };
  const { data: made } = await services.create({ parent: namespace, requestBody: wanted });
  assert.deepEqual([made.kind, made.metadata.generation], ['Service', 1]);
  await refused(services.create({ parent: namespace, requestBody: wanted }), 409, /already exists/);
  const ready = await until(async () => {
    const { data } = await services.get({ name });
    return condition(data, 'Ready') === 'True' && data;
  });
  const { data: replaced } = await services.replaceService({
    name,
    requestBody: { ...ready, metadata: { ...ready.metadata, labels: { a: 'b' } } },
  });
  assert.equal(replaced.metadata.labels.a, 'b');
  const revision = ready.status.latestReadyRevisionName;
  assert.ok(names((await services.list({ parent: namespace })).data.items).includes(service));
  assert.ok(
    names(
      (await everywhere.services.list({ parent: `projects/${project}/locations/-` })).data.items,
    ).includes(service),
  );
  const { data: found } = await revisions.get({ name: `${namespace}/revisions/${revision}` });
  assert.equal(found.metadata.labels['serving.knative.dev/service'], service);
  assert.ok(
    names(
      (await revisions.list({ parent: namespace, labelSelector: `serving.knative.dev/service=${service}` }))
        .data.items,
    ).includes(revision),
  );
  const { data: route } = await routes.get({ name: `${namespace}/routes/${service}` });
  assert.equal(route.status.url, ready.status.url);
  assert.ok(names((await routes.list({ parent: namespace })).data.items).includes(service));
  const { data: configuration } = await configurations.get({
    name: `${namespace}/configurations/${service}`,
  });
  assert.equal(configuration.kind, 'Configuration');
  assert.ok(names((await configurations.list({ parent: namespace })).data.items).includes(service));

  const { data: allowed } = await run.namespaces.authorizeddomains.list({ parent: namespace });
  assert.deepEqual(
    allowed.domains.map(each => each.id),
    ['example.com'],
  );
  const { domainmappings } = run.namespaces;
  const domain = `${service}.example.com`;
  const mapping = {
    apiVersion: 'domains.cloudrun.com/v1',
    kind: 'DomainMapping',
    metadata: metadata(domain),
    spec: { routeName: service },
  };
  const { data: mapped } = await domainmappings.create({ parent: namespace, requestBody: mapping });
  assert.equal(mapped.spec.routeName, service);
  await refused(
    domainmappings.create({ parent: namespace, requestBody: { ...mapping, metadata: metadata('nowhere') } }),
    400,
    /domain/,
  );
  const { data: seen } = await domainmappings.get({ name: `${namespace}/domainmappings/${domain}` });
  assert.equal(seen.status.resourceRecords[0].type, 'CNAME');
  assert.ok(names((await domainmappings.list({ parent: namespace })).data.items).includes(domain));
  await domainmappings.delete({ name: `${namespace}/domainmappings/${domain}` });

  const stranger = await regional(await asGuest());
  await refused(stranger.namespaces.services.get({ name }), 403, /run.services.get/);
  const second = {
    ...replaced,
    spec: {
      template: {
        spec: {
          serviceAccountName: app,
          containers: [{ ...containers[0], env: [{ name: 'A', value: '1' }] }],
        },
      },
    },
  };
  await services.replaceService({ name, requestBody: second });
  await until(async () => (await services.get({ name })).data.status.latestReadyRevisionName !== revision);
  await revisions.delete({ name: `${namespace}/revisions/${revision}` });
  await refused(
    revisions.get({ name: `${namespace}/revisions/${revision}` }),
    404,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );
  await services.delete({ name });
  await until(async () =>
    services.get({ name }).then(
      () => false,
      error => Number(error.status ?? error.code) === 404,
    ),
  );
}

export async function jobs() {
  const { jobs, executions, tasks } = (await regional()).namespaces;
  const job = unique('job');
  const name = `${namespace}/jobs/${job}`;
  const wanted = {
    apiVersion: 'run.googleapis.com/v1',
    kind: 'Job',
    metadata: metadata(job),
    spec: {
      template: {
        spec: {
          template: { spec: { containers: [{ image: 'done:1' }], serviceAccountName: app, maxRetries: 0 } },
        },
      },
    },
  };
  await jobs.create({ parent: namespace, requestBody: wanted });
  await refused(jobs.create({ parent: namespace, requestBody: wanted }), 409, /already exists/);
  const { data: found } = await jobs.get({ name });
  const { data: replaced } = await jobs.replaceJob({
    name,
    requestBody: { ...found, metadata: { ...found.metadata, labels: { a: 'b' } } },
  });
  assert.equal(replaced.metadata.labels.a, 'b');
  assert.ok(names((await jobs.list({ parent: namespace })).data.items).includes(job));
  const { data: execution } = await jobs.run({ name, requestBody: {} });
  const own = `${namespace}/executions/${execution.metadata.name}`;
  const ended = await until(async () => {
    const { data } = await executions.get({ name: own });
    return condition(data, 'Completed') === 'True' && data;
  });
  assert.equal(ended.status.succeededCount, 1);
  assert.ok(
    names(
      (await executions.list({ parent: namespace, labelSelector: `run.googleapis.com/job=${job}` })).data
        .items,
    ).includes(execution.metadata.name),
  );
  const { data: listed } = await tasks.list({
    parent: namespace,
    labelSelector: `run.googleapis.com/execution=${execution.metadata.name}`,
  });
  const { data: task } = await tasks.get({ name: `${namespace}/tasks/${listed.items[0].metadata.name}` });
  assert.equal(condition(task, 'Completed'), 'True');
  await executions.delete({ name: own });
  await refused(
    executions.get({ name: own }),
    404,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );

  wanted.spec.template.spec.template.spec.containers[0].image = 'sleeper:1';
  const { data: current } = await jobs.get({ name });
  await jobs.replaceJob({ name, requestBody: { ...current, spec: wanted.spec } });
  const { data: sleeping } = await jobs.run({ name, requestBody: {} });
  const cancelled = `${namespace}/executions/${sleeping.metadata.name}`;
  await executions.cancel({ name: cancelled, requestBody: {} });
  await until(
    async () => condition((await executions.get({ name: cancelled })).data, 'Completed') === 'False',
  );
  await jobs.delete({ name });
  await until(async () =>
    jobs.get({ name }).then(
      () => false,
      error => Number(error.status ?? error.code) === 404,
    ),
  );
}

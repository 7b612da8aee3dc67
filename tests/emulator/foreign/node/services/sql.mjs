import assert from 'node:assert/strict';

import sqlApi from 'googleapis/build/src/apis/sqladmin/index.js';

import { asGuest, names, project, refused, region, rest, unique, until } from '../support.mjs';

const sql = rest(sqlApi, 'v1');
const done = async call => {
  const { data } = await call;
  return until(async () => {
    const { data: found } = await sql.operations.get({ project, operation: data.name });
    assert.equal(found.error, undefined);
    return found.status === 'DONE' && found;
  });
};
const settings = { tier: 'db-custom-1-3840', edition: 'ENTERPRISE' };
const version = { region, databaseVersion: 'POSTGRES_17' };

export async function instances() {
  const instance = unique('sql');
  const wanted = { ...version, name: instance, settings, rootPassword: 'secret' };
  const inserted = await done(await sql.instances.insert({ project, requestBody: wanted }));
  assert.deepEqual([inserted.operationType, inserted.targetId], ['CREATE', instance]);
  await refused(sql.instances.insert({ project, requestBody: wanted }), 409, /already exists/);
  const { data: found } = await sql.instances.get({ project, instance });
  assert.deepEqual([found.state, found.connectionName], ['RUNNABLE', `${project}:${region}:${instance}`]);
  assert.ok(names((await sql.instances.list({ project })).data.items).includes(instance));
  await done(
    await sql.instances.patch({ project, instance, requestBody: { settings: { userLabels: { a: 'b' } } } }),
  );
  const { data: patched } = await sql.instances.get({ project, instance });
  assert.deepEqual([patched.settings.userLabels, patched.settings.tier], [{ a: 'b' }, settings.tier]);
  const { settings: old } = patched;
  await done(
    await sql.instances.update({
      project,
      instance,
      requestBody: { ...patched, settings: { ...old, deletionProtectionEnabled: true } },
    }),
  );
  await refused(sql.instances.delete({ project, instance }), 400, /The instance is protected/);
  await done(
    await sql.instances.patch({
      project,
      instance,
      requestBody: { settings: { deletionProtectionEnabled: false } },
    }),
  );

  await done(await sql.databases.insert({ project, instance, requestBody: { name: 'shop' } }));
  await refused(
    sql.databases.insert({ project, instance, requestBody: { name: 'shop' } }),
    409,
    /already exists/,
  );
  assert.equal((await sql.databases.get({ project, instance, database: 'shop' })).data.charset, 'UTF8');
  assert.ok(names((await sql.databases.list({ project, instance })).data.items).includes('shop'));
  await done(await sql.databases.delete({ project, instance, database: 'shop' }));
  await refused(
    sql.databases.get({ project, instance, database: 'shop' }),
    404,
    /not (exist|found)|no entry|Cannot find|Unknown service account/,
  );

  await done(await sql.users.insert({ project, instance, requestBody: { name: 'ada', password: 'x' } }));
  assert.equal((await sql.users.get({ project, instance, name: 'ada' })).data.name, 'ada');
  await done(
    await sql.users.update({ project, instance, name: 'ada', requestBody: { name: 'ada', password: 'y' } }),
  );
  assert.deepEqual(names((await sql.users.list({ project, instance })).data.items).sort(), [
    'ada',
    'postgres',
  ]);
  await done(await sql.users.delete({ project, instance, name: 'ada' }));

  const { data: operations } = await sql.operations.list({ project, instance });
  assert.ok(operations.items.some(each => each.name === inserted.name));
  const stranger = rest(sqlApi, 'v1', await asGuest());
  await refused(stranger.instances.get({ project, instance }), 403, /not authorized|cloudsql.instances.get/);
  await done(await sql.instances.delete({ project, instance }));
  await refused(sql.instances.get({ project, instance }), 404, /does not exist/);
}

export async function backups() {
  const instance = unique('saved');
  await done(sql.instances.insert({ project, requestBody: { ...version, name: instance, settings } }));
  await done(sql.databases.insert({ project, instance, requestBody: { name: 'old' } }));
  const made = await done(sql.backupRuns.insert({ project, instance, requestBody: { description: 'one' } }));
  const id = made.backupContext.backupId;
  const { data: run } = await sql.backupRuns.get({ project, instance, id });
  assert.deepEqual([run.status, run.type, run.description], ['SUCCESSFUL', 'ON_DEMAND', 'one']);
  assert.deepEqual(
    (await sql.backupRuns.list({ project, instance })).data.items.map(each => each.id),
    [id],
  );
  await done(sql.databases.delete({ project, instance, database: 'old' }));
  const restoreBackupContext = { backupRunId: id, instanceId: instance };
  await done(sql.instances.restoreBackup({ project, instance, requestBody: { restoreBackupContext } }));
  assert.equal((await sql.databases.get({ project, instance, database: 'old' })).data.name, 'old');
  const none = { backupRunId: '1', instanceId: instance };
  await refused(
    sql.instances.restoreBackup({ project, instance, requestBody: { restoreBackupContext: none } }),
    404,
    /The backup run 1 .* does not exist/,
  );

  const copy = `${instance}-copy`;
  const cloneContext = { destinationInstanceName: copy };
  const cloned = await done(sql.instances.clone({ project, instance, requestBody: { cloneContext } }));
  assert.deepEqual([cloned.operationType, cloned.targetId], ['CLONE', copy]);
  assert.equal((await sql.databases.get({ project, instance: copy, database: 'old' })).data.name, 'old');
  await refused(
    sql.instances.clone({ project, instance, requestBody: { cloneContext } }),
    409,
    /already exists/,
  );
  await done(sql.backupRuns.delete({ project, instance, id }));
  await refused(sql.backupRuns.get({ project, instance, id }), 404, /does not exist/);
  for (const each of [instance, copy]) await done(sql.instances.delete({ project, instance: each }));
}

import assert from 'node:assert/strict';

import { ArtifactRegistryClient } from '@google-cloud/artifact-registry';

import { asGuest, checkPolicy, names, place, project, refused, region, unique } from '../support.mjs';

export async function repositories(options) {
  const client = new ArtifactRegistryClient(options);
  const repositoryId = unique('images');
  const name = `${place}/repositories/${repositoryId}`;
  const [creating] = await client.createRepository({
    parent: place,
    repositoryId,
    repository: { format: 'DOCKER' },
  });
  const [made] = await creating.promise();
  assert.deepEqual(
    [made.name, made.registryUri],
    [name, `${region}-docker.pkg.dev/${project}/${repositoryId}`],
  );
  await refused(
    client.createRepository({ parent: place, repositoryId, repository: { format: 'DOCKER' } }),
    6,
    /already exists/,
  );
  await refused(
    client.createRepository({ parent: place, repositoryId: 'A', repository: { format: 'DOCKER' } }),
    3,
    /repository_id/,
  );
  const change = { name, description: 'new', labels: { a: 'b' } };
  const [updated] = await client.updateRepository({
    repository: change,
    updateMask: { paths: ['description'] },
  });
  assert.deepEqual([updated.description, updated.labels], ['new', {}]);
  assert.equal((await client.getRepository({ name }))[0].description, 'new');
  assert.ok(names((await client.listRepositories({ parent: place }))[0]).includes(name));
  await checkPolicy(
    client,
    name,
    'roles/artifactregistry.reader',
    'artifactregistry.repositories.uploadArtifacts',
  );
  const stranger = new ArtifactRegistryClient({ ...options, ...(await asGuest()) });
  assert.equal((await stranger.getRepository({ name }))[0].name, name);
  await refused(
    stranger.deleteRepository({ name }),
    7,
    /Permission 'artifactregistry.repositories.delete' denied/,
  );
  const [deleting] = await client.deleteRepository({ name });
  await deleting.promise();
  await refused(client.getRepository({ name }), 5, /not found/);
}

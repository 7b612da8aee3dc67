import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { Storage, TransferManager } from '@google-cloud/storage';
import { Gaxios } from 'gaxios';
import storageApi from 'googleapis/build/src/apis/storage/index.js';

import { asGuest, names, refused, rest, unique } from '../support.mjs';

const MIB = 1024 * 1024;
const storage = new Storage();
const plain = { resumable: false };
const digest = data => createHash('sha256').update(data).digest('hex');
const content = async file => (await file.download())[0].toString();

// Run something with a bucket of its own, which is gone afterwards.
const inBucket = async (run, metadata = {}) => {
  const bucket = storage.bucket(unique('node-objects'));
  await bucket.create(metadata);
  await run(bucket);
  await bucket.deleteFiles({ force: true, versions: true });
  await bucket.delete();
};

export const uploads = () =>
  inBucket(async bucket => {
    const file = bucket.file('a/ü.txt');
    await file.save('hello', { ...plain, contentType: 'text/plain', metadata: { metadata: { run: '1' } } });
    const [metadata] = await file.getMetadata();
    assert.deepEqual([metadata.size, metadata.contentType, metadata.metadata.run], ['5', 'text/plain', '1']);
    assert.deepEqual([metadata.crc32c, metadata.md5Hash], ['mnG7TA==', 'XUFAKrxLKna5cZ2REBfFkg==']);
    await refused(
      file.save('x', { ...plain, validation: false, metadata: { md5Hash: 'AAAAAAAAAAAAAAAAAAAAAA==' } }),
      400,
      /md5|MD5/,
    );
    const createOnly = { preconditionOpts: { ifGenerationMatch: 0 } };
    for (const resumable of [true, false])
      await refused(
        file.save('second', { ...createOnly, resumable }),
        412,
        /conditions you specified did not hold/,
      );
    assert.equal(await content(file), 'hello');

    const data = randomBytes(9 * MIB);
    const large = bucket.file('large');
    await large.save(data, { chunkSize: 2 * MIB });
    assert.equal(digest((await large.download())[0]), digest(data));
    assert.deepEqual((await large.download({ start: 5, end: 8 }))[0], data.subarray(5, 9));
    await refused(large.download({ start: 10 * MIB }), 416, /range/i);
    await pipeline(
      Readable.from([Buffer.alloc(700_000, 'a'), Buffer.alloc(700_000, 'b')]),
      bucket.file('stream').createWriteStream(),
    );
    assert.equal((await bucket.file('stream').getMetadata())[0].size, '1400000');
    const [uri] = await bucket.file('session').createResumableUpload();
    await bucket.file('session').save('by session', { uri, resumable: true });
    assert.equal(await content(bucket.file('session')), 'by session');
    await bucket.file('packed').save('hello '.repeat(1000), { gzip: true });
    assert.equal((await bucket.file('packed').download())[0].length, 6000);
    assert.ok((await bucket.file('packed').download({ decompress: false }))[0].length < 100);

    const folder = await mkdtemp(join(tmpdir(), 'storage-'));
    await writeFile(join(folder, 'parts'), data);
    await new TransferManager(bucket).uploadFileInChunks(join(folder, 'parts'), {
      uploadName: 'parts',
      chunkSizeBytes: 5 * MIB,
    });
    assert.equal(digest((await bucket.file('parts').download())[0]), digest(data));
    await rm(folder, { recursive: true });

    const { objects } = rest(storageApi, 'v1');
    const { data: inserted } = await objects.insert({
      bucket: bucket.name,
      name: 'api',
      requestBody: { contentType: 'text/x' },
      media: { mimeType: 'text/x', body: 'by api' },
    });
    assert.equal(inserted.contentType, 'text/x');
    assert.equal(await content(bucket.file('api')), 'by api');
  });

export const listing = () =>
  inBucket(async bucket => {
    for (const name of ['a.txt', 'b.csv', 'd/c.txt', 'd/e/f.txt']) await bucket.file(name).save(name, plain);
    const found = async options => names((await bucket.getFiles(options))[0]);
    assert.deepEqual(await found({ maxResults: 2, autoPaginate: false }), ['a.txt', 'b.csv']);
    const [, next] = await bucket.getFiles({ maxResults: 2, autoPaginate: false });
    assert.deepEqual(await found({ ...next, autoPaginate: false }), ['d/c.txt', 'd/e/f.txt']);
    assert.deepEqual(await found({ matchGlob: '**.txt' }), ['a.txt', 'd/c.txt', 'd/e/f.txt']);
    assert.deepEqual(await found({ matchGlob: 'd/*' }), ['d/c.txt']);
    assert.deepEqual(await found({ startOffset: 'b', endOffset: 'd/e' }), ['b.csv', 'd/c.txt']);
    const [files, , page] = await bucket.getFiles({ delimiter: '/', autoPaginate: false });
    assert.deepEqual([names(files), page.prefixes], [['a.txt', 'b.csv'], ['d/']]);
    await refused(bucket.getFiles({ pageToken: 'nothing', autoPaginate: false }), 400, /Invalid page token/);
  });

export const changes = () =>
  inBucket(async bucket => {
    const file = bucket.file('one');
    await file.save('one', plain);
    const [first] = await file.getMetadata();
    await file.setMetadata({ metadata: { state: 'new' } });
    const [second] = await file.getMetadata();
    assert.deepEqual(
      [second.generation, second.metageneration, second.metadata.state],
      [first.generation, '2', 'new'],
    );
    const stale = bucket.file('one', { preconditionOpts: { ifMetagenerationMatch: 1 } });
    await refused(
      stale.setMetadata({ metadata: { state: 'old' } }, { ifMetagenerationMatch: 1 }),
      412,
      /did not hold/,
    );
    await file.copy(bucket.file('copy'));
    await bucket.file('copy').move(bucket.file('moved'));
    assert.deepEqual(await bucket.file('copy').exists(), [false]);
    await bucket.file('moved').moveFileAtomic('renamed');
    await bucket.combine([file, bucket.file('renamed')], bucket.file('both'));
    assert.equal(await content(bucket.file('both')), 'oneone');
    assert.equal((await bucket.file('both').getMetadata())[0].componentCount, 2);
    await file.setStorageClass('nearline');
    assert.equal((await file.getMetadata())[0].storageClass, 'NEARLINE');
    await refused(bucket.file('none').download(), 404, /No such object/);
    await refused(bucket.file('none').delete(), 404, /No such object/);

    const { objects } = rest(storageApi, 'v1');
    const names = { sourceBucket: bucket.name, destinationBucket: bucket.name };
    await objects.copy({ ...names, sourceObject: 'one', destinationObject: 'by-copy', requestBody: {} });
    const { data: updated } = await objects.update({
      bucket: bucket.name,
      object: 'by-copy',
      requestBody: { contentType: 'text/y', metadata: { a: '1' } },
    });
    assert.deepEqual([updated.contentType, updated.metadata], ['text/y', { a: '1' }]);
    await refused(
      objects.get({ bucket: bucket.name, object: 'by-copy', ifGenerationMatch: '1' }),
      412,
      /did not hold/,
    );
    await file.delete();
    assert.deepEqual(await file.exists(), [false]);
  });

export const versions = () =>
  inBucket(
    async bucket => {
      const file = bucket.file('kept');
      await file.save('1', plain);
      const [{ generation }] = await file.getMetadata();
      await file.save('2', plain);
      await file.delete();
      const [all] = await bucket.getFiles({ versions: true });
      assert.equal(all.length, 2);
      assert.ok(all.every(each => each.metadata.timeDeleted));
      const old = bucket.file('kept', { generation });
      assert.equal(await content(old), '1');
      await old.copy(file);
      assert.equal(await content(file), '1');
    },
    { versioning: { enabled: true } },
  );

export const softDeletes = async () => {
  const bucket = storage.bucket(unique('node-soft'));
  await bucket.create({ softDeletePolicy: { retentionDurationSeconds: 604_800 } });
  const file = bucket.file('gone');
  await file.save('back', plain);
  const [{ generation }] = await file.getMetadata();
  await file.delete();
  assert.deepEqual(
    (await bucket.getFiles({ softDeleted: true }))[0].map(each => String(each.metadata.generation)),
    [generation],
  );
  await file.restore({ generation });
  assert.equal(await content(file), 'back');
  await file.delete();
  const { objects, operations } = rest(storageApi, 'v1');
  const { data: operation } = await objects.bulkRestore({
    bucket: bucket.name,
    requestBody: { matchGlobs: ['gone'] },
  });
  const operationId = operation.name.split('/').pop();
  const { data: ended } = await operations.get({ bucket: bucket.name, operationId });
  assert.equal(ended.name, operation.name);
  assert.deepEqual(names((await operations.list({ bucket: bucket.name })).data.operations), [operation.name]);
  await operations.cancel({ bucket: bucket.name, operationId });
};

export const retention = async () => {
  const bucket = storage.bucket(unique('node-held'));
  await bucket.create();
  const file = bucket.file('held');
  await file.save('1', plain);
  await file.setMetadata({ temporaryHold: true });
  await refused(file.delete(), 403, /hold/);
  await file.setMetadata({ temporaryHold: false });
  await bucket.setRetentionPeriod(1000);
  await refused(file.delete(), 403, /retention/);
  assert.ok((await file.getExpirationDate())[0] > new Date());
  const [{ metageneration }] = await bucket.getMetadata();
  await bucket.lock(metageneration);
  assert.equal((await bucket.getMetadata())[0].retentionPolicy.isLocked, true);
  await refused(bucket.setRetentionPeriod(10), 403, /locked|[Cc]annot/);
};

export const signedUrls = async () => {
  const { credentials, projectId } = await asGuest();
  const bucket = storage.bucket(unique('node-signed'));
  await bucket.create();
  const file = bucket.file('a b.txt');
  await file.save('signed', plain);
  const get = async (url, options = {}) => {
    const response = await new Gaxios().request({
      url,
      responseType: 'text',
      validateStatus: () => true,
      ...options,
    });
    return [response.status, response.data];
  };
  for (const version of ['v2', 'v4']) {
    const [url] = await file.getSignedUrl({ version, action: 'read', expires: Date.now() + 60_000 });
    assert.deepEqual(await get(url), [200, 'signed']);
    assert.equal((await get(url.replace('a%20b', 'a%20c')))[0], 403);
    const [put] = await bucket
      .file('put')
      .getSignedUrl({ version, action: 'write', expires: Date.now() + 60_000, contentType: 'text/plain' });
    assert.equal(
      (await get(put, { method: 'PUT', data: version, headers: { 'content-type': 'text/plain' } }))[0],
      200,
    );
    assert.equal(await content(bucket.file('put')), version);
  }
  // The account of this key file has no right on the bucket, so that neither has its signature.
  const other = new Storage({ projectId, credentials }).bucket(bucket.name).file('a b.txt');
  const [denied] = await other.getSignedUrl({ version: 'v4', action: 'read', expires: Date.now() + 60_000 });
  assert.equal((await get(denied))[0], 403);

  const conditions = [['content-length-range', 0, 10]];
  const [policy] = await bucket
    .file('posted')
    .generateSignedPostPolicyV4({ expires: Date.now() + 60_000, conditions });
  const post = async text => {
    const form = new FormData();
    for (const [name, value] of Object.entries(policy.fields)) form.append(name, value);
    form.append('file', new Blob([text]));
    return (await get(policy.url, { method: 'POST', data: form }))[0];
  };
  assert.deepEqual([await post('small'), await post('far too large')], [204, 400]);
  assert.equal(await content(bucket.file('posted')), 'small');
};

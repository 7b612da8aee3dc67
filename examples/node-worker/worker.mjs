// The private service: Cloud Tasks calls it for each text; Cloud Run checks that it is the queue.
import { createServer } from 'node:http';

import { Storage } from '@google-cloud/storage';

const { BUCKET, PORT } = process.env;
const bucket = new Storage().bucket(BUCKET);

async function count(name) {
  const [content] = await bucket.file(`texts/${name}`).download();
  const words = content.toString().split(/\s+/).filter(Boolean);
  const counts = { words: words.length, different: new Set(words).size };
  await bucket.file(`counts/${name}.json`).save(`${JSON.stringify(counts)}\n`, { resumable: false });
}

createServer((request, response) => {
  count(request.url.slice(1)).then(
    () => response.writeHead(204).end(),
    error => response.writeHead(500).end(`${error}\n`), // the queue delivers again
  );
}).listen(PORT, '127.0.0.1');

// Starts a run, waits for its end and prints its findings: `node client.js WEB KEY ORG WORKFLOW TEXT`.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

declare const process: { argv: string[] };
const [web, key, org, workflow, text] = process.argv.slice(2) as [string, string, string, string, string];
const client = createClient<paths>({ baseUrl: web, headers: { Authorization: `Bearer ${key}` } });

const started = await client.POST("/api/v1/orgs/{org}/workflows/{workflow}/runs/", {
  params: { path: { org, workflow }, header: { Prefer: "wait=30" } },
  body: { content: text, filename: "readings.json" },
  headers: { "Content-Type": "application/json" },
});
if (!started.data) throw new Error(`${started.error.code}: ${started.error.detail}`);
const run = started.data.id;

let ended = started.data.state === "COMPLETED";
while (!ended) {
  const progress = await client.GET("/api/v1/orgs/{org}/runs/{run}/progress/", {
    params: { path: { org, run } },
  });
  if (!progress.data) throw new Error(progress.error?.detail);
  ended = progress.data.state === "COMPLETED";
  await new Promise<void>((resume) => setTimeout(resume, 200));
}
const findings = await client.GET("/api/v1/orgs/{org}/runs/{run}/findings/", {
  params: { path: { org, run }, query: { severity: "ERROR" } },
});
if (!findings.data) throw new Error(findings.error?.detail);
console.log(JSON.stringify(findings.data.results.map((each) => each.message)));

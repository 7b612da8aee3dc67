"""The private service: Cloud Tasks has it start a job, and the job calls it back. Cloud Run checks both callers."""

import os

import flask
from google.cloud import run_v2, storage

app = flask.Flask(__name__)
bucket = storage.Client().bucket(os.environ["BUCKET"])
jobs = run_v2.JobsClient()
job = jobs.job_path(os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["REGION"], "thumbnail")


@app.post("/resize/<name>")
def resize(name: str) -> tuple[str, int]:
    photo = {"container_overrides": [{"env": [{"name": "PHOTO", "value": name}]}]}
    jobs.run_job(run_v2.RunJobRequest(name=job, overrides=photo))
    return "", 204


@app.post("/done/<name>")
def done(name: str) -> tuple[str, int]:
    if photo := bucket.get_blob(f"photos/{name}"):  # a callback may come twice
        photo.delete()
    return "", 204

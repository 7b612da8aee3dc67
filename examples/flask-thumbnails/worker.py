"""The private service, called by Cloud Tasks, the job and Pub/Sub. Cloud Run checks each caller."""

import base64
import os

import flask
from google.cloud import pubsub_v1, run_v2, storage

app = flask.Flask(__name__)
bucket = storage.Client().bucket(os.environ["BUCKET"])
jobs, publisher = run_v2.JobsClient(), pubsub_v1.PublisherClient()
job = jobs.job_path(os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["REGION"], "thumbnail")
topic = publisher.topic_path(os.environ["GOOGLE_CLOUD_PROJECT"], "ready")


@app.post("/resize/<name>")
def resize(name: str) -> tuple[str, int]:
    photo = {"container_overrides": [{"env": [{"name": "PHOTO", "value": name}]}]}
    jobs.run_job(run_v2.RunJobRequest(name=job, overrides=photo))
    return "", 204


@app.post("/done/<name>")
def done(name: str) -> tuple[str, int]:
    publisher.publish(topic, name.encode()).result()
    return "", 204


@app.post("/tidy")  # the subscription pushes here what the topic gets
def tidy() -> tuple[str, int]:
    name = base64.b64decode(flask.request.get_json()["message"]["data"]).decode()
    if photo := bucket.get_blob(f"photos/{name}"):  # a message may come twice
        photo.delete()
    return "", 204

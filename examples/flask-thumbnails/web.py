"""The public service: an upload becomes an object and a task; its thumbnail is served once it exists."""

import os
import uuid

import flask
from google.cloud import secretmanager, storage, tasks_v2

PROJECT, WORKER_URL = os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["WORKER_URL"]
bucket = storage.Client().bucket(os.environ["BUCKET"])
tasks = tasks_v2.CloudTasksClient()
queue = tasks.queue_path(PROJECT, os.environ["REGION"], "thumbnails")
key = secretmanager.SecretManagerServiceClient().access_secret_version(
    name=f"projects/{PROJECT}/secrets/session-key/versions/latest"
)
app = flask.Flask(__name__)
app.secret_key = key.payload.data


@app.get("/")
def index() -> str:
    form = '<form method="post" enctype="multipart/form-data"><input type="file" name="photo"><button>Upload</button></form>'
    return form + "".join(f'<img src="/{name}" alt="">' for name in flask.session.get("mine", []))


@app.post("/")
def upload() -> tuple[str, int]:
    photo, name = flask.request.files["photo"], uuid.uuid4().hex
    bucket.blob(f"photos/{name}").upload_from_file(photo.stream, content_type=photo.mimetype)
    token = {"service_account_email": os.environ["CALLER"], "audience": WORKER_URL}
    request = {"url": f"{WORKER_URL}/resize/{name}", "oidc_token": token}
    tasks.create_task(parent=queue, task={"http_request": request})
    flask.session["mine"] = [name, *flask.session.get("mine", [])][:20]
    return f"http://localhost:{os.environ['PORT']}/{name}\n", 202


@app.get("/<name>")
def thumbnail(name: str) -> flask.Response:
    found = bucket.get_blob(f"thumbnails/{name}")
    if found is None:
        return flask.Response("Not ready yet.\n", 503, {"Retry-After": "1"})
    return flask.Response(found.download_as_bytes(), mimetype="image/png")

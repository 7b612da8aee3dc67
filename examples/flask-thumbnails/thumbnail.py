"""The Cloud Run job: it makes the thumbnail of one photo and tells the worker."""

import io
import os

import requests
from google.auth.transport.requests import Request
from google.cloud import storage
from google.oauth2.id_token import fetch_id_token
from PIL import Image

name, worker = os.environ["PHOTO"], os.environ["WORKER_URL"]
bucket = storage.Client().bucket(os.environ["BUCKET"])
image, small = (
    Image.open(io.BytesIO(bucket.blob(f"photos/{name}").download_as_bytes())),
    io.BytesIO(),
)
image.thumbnail((200, 200))
image.save(small, "PNG")
bucket.blob(f"thumbnails/{name}").upload_from_string(small.getvalue(), content_type="image/png")
token = {"Authorization": f"Bearer {fetch_id_token(Request(), worker)}"}
requests.post(f"{worker}/done/{name}", headers=token, timeout=30).raise_for_status()

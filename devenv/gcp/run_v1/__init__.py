"""The v1 API of Cloud Run, which gcloud speaks: the same services and jobs in Knative's shape.

After https://cloud.google.com/run/docs/reference/rest/v1. Each method translates a request to the
v2 API, has it answered by the method of that name there, and translates the answer back: rules,
rights and texts are those of v2. Google serves v1 by REST only.
"""

"""Types of monitored resources, as far as the emulated services have them.

From https://cloud.google.com/logging/docs/api/v2/resource-list.
"""

from google.api.label_pb2 import LabelDescriptor
from google.api.monitored_resource_pb2 import MonitoredResourceDescriptor

_LABELS = {
    "cloud_run_job": ("Cloud Run Job", "project_id job_name location"),
    "cloud_run_revision": (
        "Cloud Run Revision",
        "project_id service_name revision_name location configuration_name",
    ),
    "cloud_scheduler_job": ("Cloud Scheduler Job", "project_id location job_id"),
    "cloud_tasks_queue": ("Cloud Tasks Queue", "project_id queue_id target_type location"),
    "gcs_bucket": ("GCS Bucket", "project_id bucket_name location"),
    "generic_node": ("Generic Node", "project_id location namespace node_id"),
    "generic_task": ("Generic Task", "project_id location namespace job task_id"),
    "global": ("Global", "project_id"),
    "project": ("Google Project", "project_id"),
    "pubsub_subscription": ("Cloud Pub/Sub Subscription", "project_id subscription_id"),
    "pubsub_topic": ("Cloud Pub/Sub Topic", "project_id topic_id"),
    "service_account": ("Service Account", "project_id email_id unique_id"),
}
DESCRIPTORS = tuple(
    MonitoredResourceDescriptor(
        type=kind,
        display_name=title,
        labels=[LabelDescriptor(key=key) for key in keys.split()],
    )
    for kind, (title, keys) in _LABELS.items()
)

"""Names of queues and tasks: parsed, checked, refused in Google's words."""

import re

from google.rpc import error_details_pb2

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, wrong_project

SERVICE = "cloudtasks.googleapis.com"

_LOCATION = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)")
_QUEUE = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)/queues/([A-Za-z0-9-]{1,100})")
_TASK = re.compile(
    r"projects/([^/]+)/locations/([a-z0-9-]+)/queues/([A-Za-z0-9-]{1,100})/tasks/([^/]*)"
)
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_REFERENCE = "https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues"


class Names:
    """Reads the names in requests; the project may be given by its number too."""

    def __init__(self, config: CloudConfig) -> None:
        self._projects = {config.project, config.number}
        self._project = config.project

    def location(self, text: str) -> str:
        """Return the parent of queues."""
        match = _LOCATION.fullmatch(text)
        if not match:
            self._checked(text.removeprefix("projects/").partition("/")[0])
            raise InvalidArgument("Invalid resource field value in the request.")
        return f"projects/{self._checked(match[1])}/locations/{match[2]}"

    def queue(self, text: str) -> str:
        match = _QUEUE.fullmatch(text)
        if not match:
            raise _malformed("Queue", "queues/<QUEUE_ID>", "#Queue.FIELDS.name")
        return f"projects/{self._checked(match[1])}/locations/{match[2]}/queues/{match[3]}"

    def task(self, text: str) -> str:
        match = _TASK.fullmatch(text)
        if not match:
            raise _malformed("Task", "queues/<QUEUE_ID>/tasks/<TASK_ID>", ".tasks#Task.FIELDS.name")
        queue = self.queue(text.partition("/tasks/")[0])
        if not _TASK_ID.fullmatch(match[4]):
            raise InvalidArgument(
                f'Task ID "{match[4][:600]}" can contain only letters ([A-Za-z]), numbers ([0-9]), '
                "hyphens (-), or underscores (_). Task ID must between 1 and 500 characters.",
                (_help("Definition of task ID", ".tasks#Task.FIELDS.name"),),
            )
        return f"{queue}/tasks/{match[4]}"

    def _checked(self, project: str) -> str:
        if project not in self._projects:
            raise wrong_project(project[:100], SERVICE)
        return self._project


def short(name: str) -> str:
    """Return the last part of a name: the id of the queue or the task."""
    return name.rpartition("/")[2]


def queue_of(task: str) -> str:
    """Return the name of the queue that the task is in."""
    return task.rpartition("/tasks/")[0]


def _malformed(kind: str, form: str, anchor: str) -> InvalidArgument:
    return InvalidArgument(
        f'{kind} name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/{form}".',
        (_help(f"Definition of {kind.lower()} name", anchor),),
    )


def _help(description: str, anchor: str) -> error_details_pb2.Help:
    link = error_details_pb2.Help.Link(description=description, url=_REFERENCE + anchor)
    return error_details_pb2.Help(links=[link])

"""Messages of client packages: imported alone, while the packages stay whole for their users."""

import subprocess
import sys

import pytest

from devenv.gcp.client_types import client_types

# In a process of its own, because that of the tests may have the clients already.
_PROGRAM = """
import sys
from devenv.gcp.client_types import client_types
Task = client_types("google.cloud.tasks_v2").Task
clients = "google.cloud.tasks_v2.services.cloud_tasks.client"
assert "google.cloud.tasks_v2.types" in sys.modules and clients not in sys.modules
from google.longrunning import operations_pb2
assert operations_pb2.Operation and "grpc" not in sys.modules
assert operations_pb2.OperationsStub and "grpc" in sys.modules
from google.cloud.tasks_v2.services.cloud_tasks import transports
from google.cloud import tasks_v2
assert tasks_v2.Task is Task and tasks_v2.CloudTasksClient.__module__ == clients
assert not hasattr(tasks_v2, "NoSuchName")
"""


def test_types_are_imported_without_their_clients() -> None:
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True)


def test_unknown_package_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"google\.cloud\.no_such_v1"):
        client_types("google.cloud.no_such_v1")

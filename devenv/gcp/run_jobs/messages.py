"""The raw protobuf classes of Cloud Run v2."""

from typing import Any

from google.cloud import run_v2
from google.cloud.run_v2 import types
from google.longrunning import operations_pb2

from devenv.gcp.messages import set_moment

# The installed client ships no types for its raw messages, only for its wrappers.
type Pb = Any

Job: Pb = run_v2.Job.pb()
Execution: Pb = run_v2.Execution.pb()
Task: Pb = run_v2.Task.pb()
TaskTemplate: Pb = run_v2.TaskTemplate.pb()
Container: Pb = run_v2.Container.pb()
Condition: Pb = run_v2.Condition.pb()
TaskAttemptResult: Pb = run_v2.TaskAttemptResult.pb()
Overrides: Pb = run_v2.RunJobRequest.Overrides.pb()
Operation: Pb = operations_pb2.Operation

CreateJobRequest: Pb = run_v2.CreateJobRequest.pb()
GetJobRequest: Pb = run_v2.GetJobRequest.pb()
ListJobsRequest: Pb = run_v2.ListJobsRequest.pb()
ListJobsResponse: Pb = run_v2.ListJobsResponse.pb()
UpdateJobRequest: Pb = run_v2.UpdateJobRequest.pb()
DeleteJobRequest: Pb = run_v2.DeleteJobRequest.pb()
RunJobRequest: Pb = run_v2.RunJobRequest.pb()
GetExecutionRequest: Pb = run_v2.GetExecutionRequest.pb()
ListExecutionsRequest: Pb = run_v2.ListExecutionsRequest.pb()
ListExecutionsResponse: Pb = run_v2.ListExecutionsResponse.pb()
DeleteExecutionRequest: Pb = run_v2.DeleteExecutionRequest.pb()
CancelExecutionRequest: Pb = run_v2.CancelExecutionRequest.pb()
GetTaskRequest: Pb = run_v2.GetTaskRequest.pb()
ListTasksRequest: Pb = run_v2.ListTasksRequest.pb()
ListTasksResponse: Pb = run_v2.ListTasksResponse.pb()

State = types.Condition.State
CommonReason = types.Condition.CommonReason
ExecutionReason = types.Condition.ExecutionReason
Severity = types.Condition.Severity
CompletionStatus = types.ExecutionReference.CompletionStatus

GA = 4  # google.api.LaunchStage
GEN2 = int(run_v2.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2)


def touch(record: Pb, now: float) -> None:
    """Mark `record` as changed: its update time and its etag."""
    set_moment(record.update_time, now)
    record.etag = f'"{record.update_time.ToMicroseconds():x}.{record.generation}"'

"""The REST paths of Cloud Run v2 as its published client has them; a test compares the two."""

from collections.abc import Mapping

from devenv.gcp.rpc import Binding

_LOCATION = "projects/*/locations/*"
_JOB = f"{_LOCATION}/jobs/*"
_EXECUTION = f"{_JOB}/executions/*"
_OPERATION = f"{_LOCATION}/operations/*"

JOBS: Mapping[str, Binding] = {
    "CreateJob": Binding("POST", f"/v2/{{parent={_LOCATION}}}/jobs", "job"),
    "GetJob": Binding("GET", f"/v2/{{name={_JOB}}}"),
    "ListJobs": Binding("GET", f"/v2/{{parent={_LOCATION}}}/jobs"),
    "UpdateJob": Binding("PATCH", f"/v2/{{job.name={_JOB}}}", "job"),
    "DeleteJob": Binding("DELETE", f"/v2/{{name={_JOB}}}"),
    "RunJob": Binding("POST", f"/v2/{{name={_JOB}}}:run", "*"),
}

EXECUTIONS: Mapping[str, Binding] = {
    "GetExecution": Binding("GET", f"/v2/{{name={_EXECUTION}}}"),
    "ListExecutions": Binding("GET", f"/v2/{{parent={_JOB}}}/executions"),
    "DeleteExecution": Binding("DELETE", f"/v2/{{name={_EXECUTION}}}"),
    "CancelExecution": Binding("POST", f"/v2/{{name={_EXECUTION}}}:cancel", "*"),
}

TASKS: Mapping[str, Binding] = {
    "GetTask": Binding("GET", f"/v2/{{name={_EXECUTION}/tasks/*}}"),
    "ListTasks": Binding("GET", f"/v2/{{parent={_EXECUTION}}}/tasks"),
}

OPERATIONS: Mapping[str, Binding] = {
    "GetOperation": Binding("GET", f"/v2/{{name={_OPERATION}}}"),
    "ListOperations": Binding("GET", f"/v2/{{name={_LOCATION}}}/operations"),
    "DeleteOperation": Binding("DELETE", f"/v2/{{name={_OPERATION}}}"),
    "WaitOperation": Binding("POST", f"/v2/{{name={_OPERATION}}}:wait", "*"),
}

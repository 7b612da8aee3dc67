"""The REST paths of Cloud Run v2 as its published client has them; a test compares the two."""

from collections.abc import Mapping

from devenv.gcp.rpc import HttpRule

_LOCATION = "projects/*/locations/*"
_JOB = f"{_LOCATION}/jobs/*"
_EXECUTION = f"{_JOB}/executions/*"
_OPERATION = f"{_LOCATION}/operations/*"

JOBS: Mapping[str, HttpRule] = {
    "CreateJob": HttpRule("POST", f"/v2/{{parent={_LOCATION}}}/jobs", "job"),
    "GetJob": HttpRule("GET", f"/v2/{{name={_JOB}}}"),
    "ListJobs": HttpRule("GET", f"/v2/{{parent={_LOCATION}}}/jobs"),
    "UpdateJob": HttpRule("PATCH", f"/v2/{{job.name={_JOB}}}", "job"),
    "DeleteJob": HttpRule("DELETE", f"/v2/{{name={_JOB}}}"),
    "RunJob": HttpRule("POST", f"/v2/{{name={_JOB}}}:run", "*"),
}

EXECUTIONS: Mapping[str, HttpRule] = {
    "GetExecution": HttpRule("GET", f"/v2/{{name={_EXECUTION}}}"),
    "ListExecutions": HttpRule("GET", f"/v2/{{parent={_JOB}}}/executions"),
    "DeleteExecution": HttpRule("DELETE", f"/v2/{{name={_EXECUTION}}}"),
    "CancelExecution": HttpRule("POST", f"/v2/{{name={_EXECUTION}}}:cancel", "*"),
}

TASKS: Mapping[str, HttpRule] = {
    "GetTask": HttpRule("GET", f"/v2/{{name={_EXECUTION}/tasks/*}}"),
    "ListTasks": HttpRule("GET", f"/v2/{{parent={_EXECUTION}}}/tasks"),
}

OPERATIONS: Mapping[str, HttpRule] = {
    "GetOperation": HttpRule("GET", f"/v2/{{name={_OPERATION}}}"),
    "ListOperations": HttpRule("GET", f"/v2/{{name={_LOCATION}}}/operations"),
    "DeleteOperation": HttpRule("DELETE", f"/v2/{{name={_OPERATION}}}"),
    "WaitOperation": HttpRule("POST", f"/v2/{{name={_OPERATION}}}:wait", "*"),
}

"""Jobs, executions and tasks of the v1 API."""

from collections.abc import Mapping

from google.protobuf.any_pb2 import Any as PackedAny

from devenv.gcp.rpc.json_methods import Json
from devenv.gcp.run_jobs.resources import Execution, Job, Overrides, Pb
from devenv.gcp.run_v1 import containers
from devenv.gcp.run_v1.wire import (
    OWN,
    Handler,
    V1Call,
    as_json,
    conditions,
    etag,
    listed,
    message,
    metadata,
    number,
    own_annotations,
    own_labels,
)

VERSION = "run.googleapis.com/v1"
_JOB, _EXECUTION = f"{OWN}job", f"{OWN}execution"
_COUNTS = ("runningCount", "succeededCount", "failedCount", "cancelledCount", "retriedCount")
_ORDER = ("Ready", "Completed", "Started", "ResourcesAvailable", "ContainerReady", "Retry")


def methods() -> Mapping[tuple[str, str], Handler]:
    """Return the methods by collection and name."""
    return {
        ("jobs", "create"): create,
        ("jobs", "get"): get,
        ("jobs", "list"): list_jobs,
        ("jobs", "replace"): replace,
        ("jobs", "delete"): delete,
        ("jobs", "run"): run,
        ("executions", "get"): get_execution,
        ("executions", "list"): list_executions,
        ("executions", "delete"): delete_execution,
        ("executions", "cancel"): cancel,
        ("tasks", "get"): get_task,
        ("tasks", "list"): list_tasks,
    }


async def create(call: V1Call) -> Json:
    name = str(call.body.get("metadata", {}).get("name", ""))
    await call.ask("CreateJob", parent=call.place, job_id=name, job=job_of_v2(call.body))
    return await _told(call, name)


async def get(call: V1Call) -> Json:
    return await _told(call, call.short)


async def list_jobs(call: V1Call) -> Json:
    found = await call.everything("ListJobs", "jobs", parent=call.place)
    return listed("Job", VERSION, [job_of_v1(each, call) for each in found])


async def replace(call: V1Call) -> Json:
    job = job_of_v2(call.body)
    job.name = f"{call.place}/jobs/{call.short}"
    await call.ask("UpdateJob", job=job)
    return await _told(call, call.short)


async def delete(call: V1Call) -> Json:
    await call.ask("DeleteJob", name=f"{call.place}/jobs/{call.short}")
    return {"apiVersion": "v1", "kind": "Status", "status": "Success"}


async def run(call: V1Call) -> Json:
    given = dict(call.body.get("overrides", {}))
    if "timeoutSeconds" in given:
        given["timeout"] = f"{number(given.pop('timeoutSeconds'), 'timeoutSeconds')}s"
    name = f"{call.place}/jobs/{call.short}"
    operation = await call.ask("RunJob", name=name, overrides=message(Overrides, given))
    return execution_of_v1(_execution_of(operation.metadata), call)


async def get_execution(call: V1Call) -> Json:
    return execution_of_v1(await _execution(call), call)


async def list_executions(call: V1Call) -> Json:
    parent = f"{call.place}/jobs/{call.selected(_JOB) or '-'}"
    found = await call.everything("ListExecutions", "executions", parent=parent)
    return listed("Execution", VERSION, [execution_of_v1(each, call) for each in found])


async def delete_execution(call: V1Call) -> Json:
    await call.ask("DeleteExecution", name=(await _execution(call)).name)
    return {"apiVersion": "v1", "kind": "Status", "status": "Success"}


async def cancel(call: V1Call) -> Json:
    operation = await call.ask("CancelExecution", name=(await _execution(call)).name)
    return execution_of_v1(_execution_of(operation.metadata), call)


async def get_task(call: V1Call) -> Json:
    execution = call.short.rpartition("-task")[0]
    parent = f"{call.place}/jobs/-/executions/{execution}"
    for each in await call.everything("ListTasks", "tasks", parent=parent):
        if each.name.rpartition("/")[2] == call.short:
            return task_of_v1(each, call)
    name = f"{call.place}/jobs/-/executions/{execution}/tasks/{call.short}"
    return task_of_v1(await call.ask("GetTask", name=name), call)


async def list_tasks(call: V1Call) -> Json:
    parent = f"{call.place}/jobs/-/executions/{call.selected(_EXECUTION) or '-'}"
    found = await call.everything("ListTasks", "tasks", parent=parent)
    return listed("Task", VERSION, [task_of_v1(each, call) for each in found])


async def _told(call: V1Call, name: str) -> Json:
    return job_of_v1(await call.ask("GetJob", name=f"{call.place}/jobs/{name}"), call)


async def _execution(call: V1Call) -> Pb:
    """Return an execution by its short name, which in v1 has no job before it."""
    parent = f"{call.place}/jobs/-"
    for each in await call.everything("ListExecutions", "executions", parent=parent):
        if each.name.rpartition("/")[2] == call.short:
            return each
    # Its own method says that it is not there.
    job = call.short.rpartition("-")[0] or call.short
    name = f"{call.place}/jobs/{job}/executions/{call.short}"
    return await call.ask("GetExecution", name=name)


def _execution_of(packed: PackedAny) -> Pb:
    execution = Execution()
    packed.Unpack(execution)
    return execution


def job_of_v2(given: Json) -> Pb:
    """Return a v1 Job as one of v2. Raises InvalidArgument or Unimplemented."""
    meta = given.get("metadata", {})
    notes, template = meta.get("annotations", {}), given.get("spec", {}).get("template", {})
    labels = meta.get("labels", {})
    made: Json = {
        "labels": own_labels(labels),
        "annotations": own_annotations(notes),
        "client": notes.get(f"{OWN}client-name", ""),
        "clientVersion": notes.get(f"{OWN}client-version", ""),
        "template": _template_of_v2(template),
        "etag": etag(meta),
    }
    return message(Job, made)


def _template_of_v2(given: Json) -> Json:
    meta, spec = given.get("metadata", {}), given.get("spec", {})
    notes = meta.get("annotations", {})
    containers.refuse(notes)
    inner = spec.get("template", {}).get("spec", {})
    task = containers.spec_of_v2(inner, notes)
    if "maxRetries" in inner:
        task["maxRetries"] = inner["maxRetries"]
    if "timeoutSeconds" in inner:
        task["timeout"] = f"{number(inner['timeoutSeconds'], 'timeoutSeconds')}s"
    return {
        "labels": meta.get("labels", {}),
        "annotations": own_annotations(notes),
        "parallelism": spec.get("parallelism", 0),
        "taskCount": spec.get("taskCount", 1),
        "template": task,
    }


def job_of_v1(job: Pb, call: V1Call) -> Json:
    """Return a job of v2 as one of v1."""
    told = as_json(job)
    template = told["template"]
    latest = told.get("latestCreatedExecution", {})
    notes = {
        f"{OWN}creator": job.creator,
        f"{OWN}lastModifier": job.last_modifier,
        f"{OWN}client-name": job.client,
        f"{OWN}client-version": job.client_version,
    }
    reference = {
        "name": latest.get("name", ""),
        "creationTimestamp": latest.get("createTime", ""),
        "completionTimestamp": latest.get("completionTime", ""),
        "completionStatus": latest.get("completionStatus", ""),
    }
    status = {
        "observedGeneration": int(told.get("observedGeneration", 0)),
        "conditions": conditions(told, order=_ORDER),
        "executionCount": told.get("executionCount", 0),
        "latestCreatedExecution": {key: value for key, value in reference.items() if value},
    }
    execution = {
        "labels": template.get("labels", {}),
        "annotations": containers.annotations_of_v1(template),
    }
    execution["annotations"] |= template.get("annotations", {})
    execution["annotations"] |= containers.annotations_of_v1(template["template"])
    return {
        "apiVersion": VERSION,
        "kind": "Job",
        "metadata": metadata(
            job,
            call.namespace,
            {key: value for key, value in notes.items() if value},
            labels={
                "cloud.googleapis.com/location": call.place.rpartition("/")[2],
                f"{OWN}lastUpdatedTime": told.get("updateTime", ""),
            },
        ),
        "spec": {"template": {"metadata": execution, "spec": _spec_of_v1(template)}},
        "status": {key: value for key, value in status.items() if value},
    }


def _spec_of_v1(told: Json) -> Json:
    spec = {"taskCount": told.get("taskCount", 1), "template": _task_of_v1(told["template"])}
    return {**spec, **({"parallelism": told["parallelism"]} if told.get("parallelism") else {})}


def _task_of_v1(told: Json) -> Json:
    timeout = str(int(float(told["timeout"].rstrip("s"))))
    spec = {
        **containers.spec_of_v1(told),
        "maxRetries": told.get("maxRetries", 0),
        "timeoutSeconds": timeout,
    }
    return {"spec": spec}


def execution_of_v1(execution: Pb, call: V1Call) -> Json:
    """Return an execution of v2 as one of v1."""
    told = as_json(execution)
    status = {
        "observedGeneration": int(told.get("observedGeneration", 0)),
        "conditions": conditions(told, order=_ORDER),
        "startTime": told.get("startTime", ""),
        "completionTime": told.get("completionTime", ""),
        "logUri": execution.log_uri,
        **{name: told[name] for name in _COUNTS if told.get(name)},
    }
    owner = {"apiVersion": VERSION, "kind": "Job", "name": execution.job, "controller": True}
    labels = {_JOB: execution.job, "cloud.googleapis.com/location": call.place.rpartition("/")[2]}
    notes = {f"{OWN}creator": execution.creator, **containers.annotations_of_v1(told["template"])}
    return {
        "apiVersion": VERSION,
        "kind": "Execution",
        "metadata": metadata(
            execution,
            call.namespace,
            {key: value for key, value in notes.items() if value},
            labels=labels,
            ownerReferences=[owner],
        ),
        "spec": _spec_of_v1(told),
        "status": {key: value for key, value in status.items() if value},
    }


def task_of_v1(task: Pb, call: V1Call) -> Json:
    """Return a task of v2 as one of v1."""
    told = as_json(task)
    last = told.get("lastAttemptResult", {})
    status = {
        "observedGeneration": int(told.get("observedGeneration", 0)),
        "index": told.get("index", 0),
        "conditions": conditions(told, order=_ORDER),
        "startTime": told.get("startTime", ""),
        "completionTime": told.get("completionTime", ""),
        "retried": told.get("retried", 0),
        "lastAttemptResult": last,
        "logUri": task.log_uri,
    }
    labels = {
        _JOB: task.job,
        _EXECUTION: task.execution.rpartition("/")[2],
        f"{OWN}runningState": _running_state(told),
    }
    return {
        "apiVersion": VERSION,
        "kind": "Task",
        "metadata": metadata(task, call.namespace, {}, labels=labels),
        "spec": _task_of_v1(told)["spec"],
        "status": {key: value for key, value in status.items() if value not in ("", {})},
    }


def _running_state(told: Json) -> str:
    """Return the state of a task as gcloud shows it."""
    ended = [each for each in told.get("conditions", []) if each["type"] == "Completed"]
    state = ended[0].get("state", "") if ended else ""
    if ended and ended[0].get("executionReason") == "CANCELLED":
        return "Cancelled"
    names = {"CONDITION_SUCCEEDED": "Succeeded", "CONDITION_FAILED": "Failed"}
    return names.get(state, "Running" if told.get("startTime") else "Pending")

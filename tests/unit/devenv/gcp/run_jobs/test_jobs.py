"""Jobs as callers make, change, list and run them."""

from typing import Any

import pytest

from devenv.gcp.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unimplemented,
)
from devenv.gcp.run_jobs.resources import Job
from tests.unit.devenv.gcp.run_jobs.bench import IMAGE, JOB, LOCATION, Bench, unpack

pytestmark = pytest.mark.anyio


def job_of(**template: Any) -> Any:
    """Return a small job with changes to its task template."""
    return Job(template={"template": {"containers": [{"image": IMAGE}]} | template})


async def create(bench: Bench, job_id: str = "new", **fields: Any) -> Any:
    request = {"parent": LOCATION, "job_id": job_id, "job": job_of()} | fields
    operation = await bench.call("CreateJob", **request)
    job = Job()
    assert operation.done
    assert operation.response.Unpack(job)
    return job


async def test_new_job_has_googles_defaults(bench: Bench) -> None:
    job = await create(bench)

    task = job.template.template
    assert (job.name, job.creator, job.generation) == (f"{LOCATION}/jobs/new", "web@demo", 1)
    assert (job.launch_stage, task.execution_environment) == (4, 2)  # GA, GEN2
    assert (job.template.task_count, job.template.parallelism) == (1, 0)
    assert (task.max_retries, task.timeout.seconds) == (3, 600)
    assert dict(task.containers[0].resources.limits) == {"cpu": "1000m", "memory": "512Mi"}
    assert task.service_account == "123456789012-compute@developer.gserviceaccount.com"
    assert await bench.call("GetJob", name=job.name) == job


async def test_zero_retries_is_kept(bench: Bench) -> None:
    job = await create(bench, job=job_of(max_retries=0))
    await bench.call("RunJob", name=job.name)
    (await bench.attempt()).end(code=1)
    await bench.attempt()

    assert len(bench.runtime.started) == 1


async def test_job_is_created_once(bench: Bench) -> None:
    with pytest.raises(AlreadyExists, match=r"Resource 'sim' already exists\."):
        await create(bench, "sim")


async def test_validate_only_stores_nothing(bench: Bench) -> None:
    job = await create(bench, validate_only=True)
    await bench.call("RunJob", name=JOB, validate_only=True)
    await bench.call("DeleteJob", name=JOB, validate_only=True)

    with pytest.raises(NotFound):
        await bench.call("GetJob", name=job.name)
    assert not (await bench.call("ListExecutions", parent=JOB)).executions
    assert await bench.call("GetJob", name=JOB)


async def test_validate_only_needs_the_rights_of_the_call(bench: Bench) -> None:
    bench.guard.denied |= {"iam.serviceAccounts.actAs", "run.jobs.run"}

    with pytest.raises(PermissionDenied, match="actAs"):
        await create(bench, validate_only=True)
    with pytest.raises(PermissionDenied, match=r"run\.jobs\.run"):
        await bench.call("RunJob", name=JOB, validate_only=True)


async def test_missing_job_error_names_region_and_project(bench: Bench) -> None:
    text = "Resource 'no' of kind 'JOB' in region 'us-west1' in project 'demo' does not exist."

    for method in ("GetJob", "RunJob", "DeleteJob"):
        with pytest.raises(NotFound) as caught:
            await bench.call(method, name=f"{LOCATION}/jobs/no")
        assert caught.value.message == text


async def test_another_region_is_not_implemented(bench: Bench) -> None:
    with pytest.raises(Unimplemented, match="Operation is not implemented, or supported"):
        await bench.call("RunJob", name="projects/demo/locations/mars/jobs/sim")


async def test_project_number_is_accepted(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB.replace("demo", "123456789012"))

    assert job.name == JOB


async def test_update_replaces_template_and_increments_generation(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB)
    job.template.template.containers[0].env[0].value = "changed"
    await bench.call("UpdateJob", job=job)

    changed = await bench.call("GetJob", name=JOB)
    assert (changed.generation, changed.uid, changed.last_modifier) == (2, job.uid, "web@demo")
    assert changed.template.template.containers[0].env[0].value == "changed"
    assert changed.etag != job.etag


async def test_update_with_old_etag_is_conflict(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB)
    await bench.call("UpdateJob", job=job)

    with pytest.raises(Aborted, match="Conflict for resource 'sim'"):
        await bench.call("UpdateJob", job=job)


async def test_update_with_allow_missing_creates_job(bench: Bench) -> None:
    job = job_of()
    job.name = f"{LOCATION}/jobs/new"
    with pytest.raises(NotFound):
        await bench.call("UpdateJob", job=job)

    await bench.call("UpdateJob", job=job, allow_missing=True)
    assert (await bench.call("GetJob", name=job.name)).generation == 1


async def test_jobs_are_listed_in_pages(bench: Bench) -> None:
    for job_id in ("a", "b"):
        await create(bench, job_id)

    first = await bench.call("ListJobs", parent=LOCATION, page_size=2)
    rest = await bench.call(
        "ListJobs", parent=LOCATION, page_size=2, page_token=first.next_page_token
    )
    names = [job.name.rsplit("/", 1)[-1] for job in (*first.jobs, *rest.jobs)]
    assert (names, rest.next_page_token) == (["a", "b", "sim"], "")


async def test_executions_are_listed_newest_first_for_one_job_or_all(bench: Bench) -> None:
    other = await create(bench)
    names = []
    for job in (JOB, other.name, JOB):
        names.append((await bench.run(name=job)).name)
        await bench.clock.turn(1)

    one = await bench.call("ListExecutions", parent=JOB)
    every = await bench.call("ListExecutions", parent=f"{LOCATION}/jobs/-")
    assert [each.name for each in one.executions] == [names[2], names[0]]
    assert [each.name for each in every.executions] == names[::-1]


async def test_tasks_are_listed_by_their_number(bench: Bench) -> None:
    execution = await bench.run(overrides={"task_count": 12})
    tasks = await bench.tasks(execution)

    assert [task.index for task in tasks] == list(range(12))
    assert tasks[11].name.endswith("-task11")
    assert await bench.call("GetTask", name=tasks[11].name) == tasks[11]


async def test_overrides_replace_arguments_and_merge_variables(bench: Bench) -> None:
    change = {"args": ["x", "y"], "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]}
    execution = await bench.run(
        overrides={"container_overrides": [change], "task_count": 2, "timeout": {"seconds": 5}}
    )

    attempt = (await bench.attempt()).attempt
    own = {name: attempt.env[name] for name in ("MODE", "A", "B", "CLOUD_RUN_TASK_COUNT")}
    assert own == {"MODE": "job", "A": "2", "B": "3", "CLOUD_RUN_TASK_COUNT": "2"}
    assert attempt.args == ("x", "y")
    assert (execution.task_count, execution.template.timeout.seconds) == (2, 5)
    job = await bench.call("GetJob", name=JOB)
    assert len(job.template.template.containers[0].env) == 2


async def test_arguments_can_be_cleared(bench: Bench) -> None:
    job = await bench.call("GetJob", name=JOB)
    job.template.template.containers[0].args.append("old")
    await bench.call("UpdateJob", job=job)

    await bench.run(overrides={"container_overrides": [{"clear_args": True}]})
    assert (await bench.attempt()).attempt.args == ()


async def test_execution_token_names_and_starts_execution(bench: Bench) -> None:
    job = job_of()
    job.start_execution_token = "first"
    await create(bench, job=job)

    name = f"{LOCATION}/jobs/new/executions/new-first"
    assert (await bench.call("GetExecution", name=name)).job == "new"


@pytest.mark.parametrize(
    ("method", "permission"),
    [
        ("GetJob", "run.jobs.get"),
        ("RunJob", "run.jobs.run"),
        ("DeleteJob", "run.jobs.delete"),
    ],
)
async def test_method_checks_its_permission(bench: Bench, method: str, permission: str) -> None:
    bench.guard.denied.add(permission)

    with pytest.raises(PermissionDenied):
        await bench.call(method, name=JOB)
    assert bench.guard.asked == [(permission, JOB)]


async def test_overrides_need_run_with_overrides_permission(bench: Bench) -> None:
    bench.guard.denied.add("run.jobs.runWithOverrides")
    await bench.run()

    with pytest.raises(PermissionDenied):
        await bench.run(overrides={"task_count": 2})
    assert ("run.jobs.run", JOB) in bench.guard.asked


async def test_create_job_needs_act_as_on_its_account(bench: Bench) -> None:
    bench.guard.denied.add("iam.serviceAccounts.actAs")

    with pytest.raises(PermissionDenied):
        await create(bench, job=job_of(service_account="runner@demo.iam.gserviceaccount.com"))
    asked = "projects/demo/serviceAccounts/runner@demo.iam.gserviceaccount.com"
    assert bench.guard.asked[-1] == ("iam.serviceAccounts.actAs", asked)


async def test_execution_methods_check_their_permissions(bench: Bench) -> None:
    operation = await bench.call("RunJob", name=JOB)
    execution = unpack(operation)
    (task,) = await bench.tasks(execution)
    bench.guard.asked.clear()

    await bench.call("GetExecution", name=execution.name)
    await bench.call("GetTask", name=task.name)
    await bench.call("GetOperation", name=operation.name)
    await bench.call("ListOperations", name=LOCATION)
    await bench.call("CancelExecution", name=execution.name)
    await bench.call("DeleteOperation", name=operation.name)
    assert bench.guard.asked == [
        ("run.executions.get", execution.name),
        ("run.tasks.get", task.name),
        ("run.operations.get", operation.name),
        ("run.operations.list", LOCATION),
        ("run.executions.cancel", execution.name),
        ("run.operations.delete", operation.name),
    ]


@pytest.mark.parametrize("job_id", ["", "Big", "1st", "end-", "a" * 50, "a/b", "ä"])
async def test_too_long_or_invalid_job_id_is_refused(bench: Bench, job_id: str) -> None:
    with pytest.raises(InvalidArgument, match="job_id"):
        await create(bench, job_id)


@pytest.mark.parametrize(
    "template",
    [
        {"containers": []},
        {"max_retries": 11},
        {"max_retries": -1},
        {"timeout": {"seconds": 0}},
        {"timeout": {"seconds": 604801}},
        {"timeout": {"seconds": 10**18}},
        {"containers": [{"image": ""}]},
        {"containers": [{"image": "i", "env": [{"name": "CLOUD_RUN_JOB", "value": "x"}]}]},
        {"containers": [{"image": "i", "env": [{"name": "A=B", "value": "x"}]}]},
        {"containers": [{"image": "i", "env": [{"name": "A", "value": "\0"}]}]},
        {"containers": [{"image": "i", "env": [{"name": f"V{n}"} for n in range(1001)]}]},
        {"containers": [{"image": "i", "resources": {"limits": {"memory": "lots"}}}]},
        {"containers": [{"image": "i", "resources": {"limits": {"memory": "64Gi"}}}]},
        {"containers": [{"image": "i", "resources": {"limits": {"cpu": "-1"}}}]},
    ],
    ids=str,
)
async def test_template_outside_limits_is_refused(bench: Bench, template: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"^job\.template\."):
        await create(bench, job=job_of(**template))


@pytest.mark.parametrize(
    "overrides",
    [
        {"task_count": -1},
        {"task_count": 10_001},
        {"timeout": {"seconds": -5}},
        {"container_overrides": [{"name": "other"}]},
        {"container_overrides": [{"env": [{"name": "CLOUD_RUN_TASK_INDEX", "value": "9"}]}]},
    ],
    ids=str,
)
async def test_overrides_outside_limits_are_refused(
    bench: Bench, overrides: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument, match=r"^overrides\."):
        await bench.run(overrides=overrides)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("template.template.volumes.gcs", {"bucket": "b"}),
        ("template.template.vpc_access.connector", "c"),
        ("template.template.node_selector", {"accelerator": "a"}),
        ("template.template.encryption_key", "k"),
        ("template.template.containers.working_dir", "/x"),
        ("template.template.containers.resources.startup_cpu_boost", True),
        ("template.template.containers.startup_probe", {"period_seconds": 1}),
        ("binary_authorization", {"use_default": True}),
    ],
)
async def test_field_that_is_not_emulated_is_named(bench: Bench, where: str, value: Any) -> None:
    job = job_of()
    *parents, leaf = where.split(".")
    target = job
    for parent in parents:
        target = getattr(target, parent)
        if parent == "volumes":
            target.add(name="v")
        target = target[0] if parent in ("containers", "volumes") else target
    wanted = type(target)(**{leaf: value})
    target.MergeFrom(wanted)

    with pytest.raises(Unimplemented, match=f"^job.{where} is not emulated"):
        await bench.call("CreateJob", parent=LOCATION, job_id="new", job=job)


@pytest.mark.parametrize(("method", "parent"), [("ListJobs", LOCATION), ("ListExecutions", JOB)])
async def test_list_of_deleted_resources_is_refused(bench: Bench, method: str, parent: str) -> None:
    with pytest.raises(Unimplemented, match="show_deleted is not emulated"):
        await bench.call(method, parent=parent, show_deleted=True)


SECRET = {"name": "v", "secret": {"secret": "key"}}


@pytest.mark.parametrize(
    ("volumes", "mounts"),
    [
        ([SECRET, SECRET], []),
        ([{"name": "v", "secret": {"secret": "key", "items": [{"path": "/etc/x"}]}}], []),
        ([{"name": "v", "secret": {"secret": "key", "items": [{"path": "../x"}]}}], []),
        ([SECRET], [{"name": "other", "mount_path": "/v"}]),
        ([SECRET], [{"name": "v", "mount_path": "relative"}]),
        ([SECRET], [{"name": "v", "mount_path": "/a/../b"}]),
        ([SECRET], [{"name": "v", "mount_path": "/"}]),
        ([SECRET], [{"name": "v", "mount_path": "/v"}, {"name": "v", "mount_path": "/v"}]),
    ],
)
async def test_invalid_volume_or_mount_is_refused(
    bench: Bench, volumes: list[Any], mounts: list[Any]
) -> None:
    containers = [{"image": "i", "volume_mounts": mounts}]
    with pytest.raises(InvalidArgument, match=r"^job\.template\.template\."):
        await create(bench, job=job_of(containers=containers, volumes=volumes))


async def test_limit_or_sidecar_that_is_not_emulated_is_named(bench: Bench) -> None:
    job = job_of()
    job.template.template.containers[0].resources.limits["nvidia.com/gpu"] = "1"
    with pytest.raises(Unimplemented, match=r"nvidia\.com/gpu is not emulated"):
        await bench.call("CreateJob", parent=LOCATION, job_id="new", job=job)

    job = job_of()
    job.template.template.containers.add(image="sidecar")
    with pytest.raises(Unimplemented, match="sidecars are not emulated"):
        await bench.call("CreateJob", parent=LOCATION, job_id="new", job=job)

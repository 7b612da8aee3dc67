"""Services, revisions, configurations and routes of the v1 API."""

from collections.abc import Mapping
from typing import Any

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.rpc.json_methods import Json
from devenv.gcp.run_jobs.resources import Pb
from devenv.gcp.run_services.records import Service
from devenv.gcp.run_v1 import containers
from devenv.gcp.run_v1.wire import (
    OWN,
    Handler,
    V1Call,
    as_json,
    conditions,
    etag,
    json_list,
    listed,
    message,
    metadata,
    number,
    own_annotations,
    own_labels,
)

VERSION = "serving.knative.dev/v1"
_SCALE = "autoscaling.knative.dev/"
_INGRESS = {
    "all": "INGRESS_TRAFFIC_ALL",
    "internal": "INGRESS_TRAFFIC_INTERNAL_ONLY",
    "internal-and-cloud-load-balancing": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
}
_ORDER = ("Ready", "ConfigurationsReady", "RoutesReady")
_LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"


def methods() -> Mapping[tuple[str, str], Handler]:
    """Return the methods by collection and name."""
    return {
        ("services", "create"): create,
        ("services", "get"): get,
        ("services", "list"): list_services,
        ("services", "replace"): replace,
        ("services", "delete"): delete,
        ("revisions", "get"): get_revision,
        ("revisions", "list"): list_revisions,
        ("revisions", "delete"): delete_revision,
        ("configurations", "get"): get_configuration,
        ("configurations", "list"): list_configurations,
        ("routes", "get"): get_route,
        ("routes", "list"): list_routes,
    }


async def create(call: V1Call) -> Json:
    name = str(call.body.get("metadata", {}).get("name", ""))
    await call.ask(
        "CreateService", parent=call.place, service_id=name, service=service_of_v2(call.body)
    )
    return await _told(call, name)


async def get(call: V1Call) -> Json:
    return await _told(call, call.short)


async def list_services(call: V1Call) -> Json:
    return listed("Service", VERSION, [service_of_v1(each, call) for each in await _all(call)])


async def replace(call: V1Call) -> Json:
    service = service_of_v2(call.body)
    service.name = f"{call.place}/services/{call.short}"
    await call.ask("UpdateService", service=service)
    return await _told(call, call.short)


async def delete(call: V1Call) -> Json:
    await call.ask("DeleteService", name=f"{call.place}/services/{call.short}")
    return {"apiVersion": "v1", "kind": "Status", "status": "Success"}


async def get_revision(call: V1Call) -> Json:
    return revision_of_v1(await _revision(call), call)


async def list_revisions(call: V1Call) -> Json:
    service = call.selected("serving.knative.dev/service") or "-"
    parent = f"{call.place}/services/{service}"
    found = await call.everything("ListRevisions", "revisions", parent=parent)
    return listed("Revision", VERSION, [revision_of_v1(each, call) for each in found])


async def delete_revision(call: V1Call) -> Json:
    await call.ask("DeleteRevision", name=(await _revision(call)).name)
    return {"apiVersion": "v1", "kind": "Status", "status": "Success"}


async def get_configuration(call: V1Call) -> Json:
    return _configuration(await _told(call, call.short))


async def list_configurations(call: V1Call) -> Json:
    told = [service_of_v1(each, call) for each in await _all(call)]
    return listed("Configuration", VERSION, [_configuration(each) for each in told])


async def get_route(call: V1Call) -> Json:
    return _route(await _told(call, call.short))


async def list_routes(call: V1Call) -> Json:
    told = [service_of_v1(each, call) for each in await _all(call)]
    return listed("Route", VERSION, [_route(each) for each in told])


async def _told(call: V1Call, name: str) -> Json:
    return service_of_v1(await call.ask("GetService", name=f"{call.place}/services/{name}"), call)


async def _all(call: V1Call) -> list[Pb]:
    return await call.everything("ListServices", "services", parent=call.place)


async def _revision(call: V1Call) -> Pb:
    """Return a revision by its short name, which in v1 has no service before it."""
    parent = f"{call.place}/services/-"
    for each in await call.everything("ListRevisions", "revisions", parent=parent):
        if each.name.rpartition("/")[2] == call.short:
            return each
    # Its own method says that it is not there.
    service = call.short.rsplit("-", 2)[0]
    name = f"{call.place}/services/{service}/revisions/{call.short}"
    return await call.ask("GetRevision", name=name)


def service_of_v2(given: Json) -> Pb:
    """Return a v1 Service as one of v2. Raises InvalidArgument or Unimplemented."""
    meta, spec = given.get("metadata", {}), given.get("spec", {})
    notes, template = meta.get("annotations", {}), spec.get("template", {})
    traffic = [_target_of_v2(each) for each in spec.get("traffic", [])]
    ingress = notes.get(f"{OWN}ingress", "all")
    if ingress not in _INGRESS:
        raise InvalidArgument(f"{OWN}ingress is {ingress[:100]!r}; use {', '.join(_INGRESS)}.")
    audiences = f"{OWN}custom-audiences"
    made: Json = {
        "labels": own_labels(meta.get("labels", {})),
        "annotations": own_annotations(notes),
        "client": notes.get(f"{OWN}client-name", ""),
        "clientVersion": notes.get(f"{OWN}client-version", ""),
        "description": notes.get(f"{OWN}description", ""),
        "ingress": _INGRESS[ingress],
        "invokerIamDisabled": notes.get(f"{OWN}invoker-iam-disabled") == "true",
        "defaultUriDisabled": notes.get(f"{OWN}default-url-disabled") == "true",
        "customAudiences": json_list(notes.get(audiences, ""), audiences),
        "template": _template_of_v2(template),
        "traffic": traffic,
        "scaling": _scaling(notes, OWN),
        "etag": etag(meta),
    }
    return message(Service, made)


def _template_of_v2(template: Json) -> Json:
    meta, spec = template.get("metadata", {}), template.get("spec", {})
    notes = meta.get("annotations", {})
    containers.refuse(notes)
    made = {
        "labels": meta.get("labels", {}),
        "annotations": own_annotations(notes),
        "scaling": _scaling(notes, _SCALE),
        "sessionAffinity": notes.get(f"{OWN}sessionAffinity") == "true",
        **containers.spec_of_v2(spec, notes),
    }
    if name := meta.get("name"):
        made["revision"] = name
    if "containerConcurrency" in spec:
        made["maxInstanceRequestConcurrency"] = spec["containerConcurrency"]
    if "timeoutSeconds" in spec:
        made["timeout"] = f"{number(spec['timeoutSeconds'], 'timeoutSeconds')}s"
    return made


def _scaling(notes: Json, prefix: str) -> Json:
    names = {"minScale": "minInstanceCount", "maxScale": "maxInstanceCount"}
    return {
        field: number(notes[f"{prefix}{name}"], f"{prefix}{name}")
        for name, field in names.items()
        if f"{prefix}{name}" in notes
    }


def _target_of_v2(given: Json) -> Json:
    made = {"percent": given.get("percent", 0), "tag": given.get("tag", "")}
    return (
        made if given.get("latestRevision") else {**made, "revision": given.get("revisionName", "")}
    )


def service_of_v1(service: Pb, call: V1Call) -> Json:
    """Return a service of v2 as one of v1."""
    told = as_json(service)
    template = told["template"]
    notes = {
        f"{OWN}ingress": next(k for k, v in _INGRESS.items() if v == told["ingress"]),
        f"{OWN}ingress-status": "all",
        "serving.knative.dev/creator": service.creator,
        "serving.knative.dev/lastModifier": service.last_modifier,
        f"{OWN}client-name": service.client,
        f"{OWN}client-version": service.client_version,
        f"{OWN}description": service.description,
        f"{OWN}urls": str(list(service.urls)).replace("'", '"'),
        **({f"{OWN}invoker-iam-disabled": "true"} if service.invoker_iam_disabled else {}),
        **({f"{OWN}default-url-disabled": "true"} if service.default_uri_disabled else {}),
        **_scaling_of_v1(told.get("scaling", {}), OWN),
    }
    if service.custom_audiences:
        notes[f"{OWN}custom-audiences"] = str(list(service.custom_audiences)).replace("'", '"')
    notes = {key: value for key, value in notes.items() if value}
    labels = {"cloud.googleapis.com/location": call.place.rpartition("/")[2]}
    statuses = told.get("trafficStatuses", [])
    ready = service.latest_ready_revision.rpartition("/")[2]
    return {
        "apiVersion": VERSION,
        "kind": "Service",
        "metadata": metadata(service, call.namespace, notes, labels=labels),
        "spec": {
            "template": _template_of_v1(template),
            "traffic": [_target_of_v1(each, "") for each in told.get("traffic", [])],
        },
        "status": {
            "observedGeneration": int(told.get("observedGeneration", 0)),
            "conditions": conditions(told, order=_ORDER),
            "latestReadyRevisionName": ready,
            "latestCreatedRevisionName": service.latest_created_revision.rpartition("/")[2],
            "traffic": [_target_of_v1(each, ready) for each in statuses],
            "url": service.uri,
            "address": {"url": service.uri},
        },
    }


def _template_of_v1(told: Json) -> Json:
    notes = {
        **told.get("annotations", {}),
        **containers.annotations_of_v1(told),
        **_scaling_of_v1(told.get("scaling", {}), _SCALE),
    }
    meta = {
        "labels": told.get("labels", {}),
        "annotations": notes,
        "name": told.get("revision", ""),
    }
    return {
        "metadata": {key: value for key, value in meta.items() if value},
        "spec": {
            **containers.spec_of_v1(told),
            "containerConcurrency": told.get("maxInstanceRequestConcurrency", 0),
            "timeoutSeconds": int(float(told["timeout"].rstrip("s"))),
        },
    }


def _scaling_of_v1(told: Json, prefix: str) -> Json:
    names = {"minInstanceCount": "minScale", "maxInstanceCount": "maxScale"}
    return {f"{prefix}{name}": str(told[field]) for field, name in names.items() if field in told}


def _target_of_v1(told: Json, ready: str) -> Json:
    """Return a traffic target, of a status if the name of the latest `ready` revision is given."""
    is_latest = told.get("type") == _LATEST
    made = {
        "revisionName": told.get("revision", "") or (ready if is_latest else ""),
        "latestRevision": is_latest,
        "percent": told.get("percent", 0),
        "tag": told.get("tag", ""),
        "url": told.get("uri", ""),
    }
    return {key: value for key, value in made.items() if value not in ("", False, 0)}


def revision_of_v1(revision: Pb, call: V1Call) -> Json:
    """Return a revision of v2 as one of v1."""
    told = as_json(revision)
    labels = {
        "serving.knative.dev/service": revision.service,
        "serving.knative.dev/configuration": revision.service,
        "cloud.googleapis.com/location": call.place.rpartition("/")[2],
    }
    template = _template_of_v1(told)
    notes = {
        "serving.knative.dev/creator": revision.creator,
        **template["metadata"].get("annotations", {}),
    }
    found: dict[str, Any] = {
        "observedGeneration": int(told.get("observedGeneration", 0)),
        "conditions": conditions(told, order=("Ready",)),
        "imageDigest": revision.containers[0].image,
        "logUrl": revision.log_uri,
    }
    return {
        "apiVersion": VERSION,
        "kind": "Revision",
        "metadata": metadata(revision, call.namespace, notes, labels=labels),
        "spec": template["spec"],
        "status": found,
    }


def _configuration(service: Json) -> Json:
    status = service["status"]
    names = ("latestReadyRevisionName", "latestCreatedRevisionName", "observedGeneration")
    ready = [each for each in status["conditions"] if each["type"] == "ConfigurationsReady"]
    return {
        **service,
        "kind": "Configuration",
        "spec": {"template": service["spec"]["template"]},
        "status": {
            **{name: status[name] for name in names},
            "conditions": [{**each, "type": "Ready"} for each in ready],
        },
    }


def _route(service: Json) -> Json:
    status = service["status"]
    names = ("observedGeneration", "traffic", "url", "address")
    ready = [each for each in status["conditions"] if each["type"] == "RoutesReady"]
    return {
        **service,
        "kind": "Route",
        "spec": {"traffic": service["spec"]["traffic"]},
        "status": {
            **{name: status[name] for name in names},
            "conditions": [{**each, "type": "Ready"} for each in ready],
        },
    }

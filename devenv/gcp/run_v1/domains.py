"""Domain mappings, which only the v1 API has, and the domains that may be mapped.

After https://cloud.google.com/run/docs/reference/rest/v1/namespaces.domainmappings. A mapping is made
whether its domain is verified or not; its conditions tell what it lacks. Nothing answers at the domain.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from devenv.gcp.caller import Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import AlreadyExists, InvalidArgument, NotFound, Unimplemented
from devenv.gcp.rpc.json_methods import Json, kept, listed as records
from devenv.gcp.run_v1.wire import Handler, V1Call, listed
from devenv.gcp.store import Store

VERSION = "domains.cloudrun.com/v1"
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_KNOWN = {"routeName", "certificateMode", "forceOverride"}
_MODES = ("AUTOMATIC", "NONE")
# https://cloud.google.com/run/docs/mapping-custom-domains: records of a base domain, and of the others.
_A = tuple(f"216.239.{part}.21" for part in (32, 34, 36, 38))
_AAAA = tuple(f"2001:4860:4802:{part}::15" for part in (32, 34, 36, 38))
_CNAME = "ghs.googlehosted.com."
_UNVERIFIED = (
    "Caller is not authorized to administer the domain '{domain}'. If you own '{domain}', you can obtain "
    "authorization by verifying ownership of the domain, or any of its parent domains, via the Webmaster "
    "Central portal: https://www.google.com/webmasters/verification/verification?domain={domain}."
)


class DomainMappings:
    """The mappings of a project, by their domains."""

    def __init__(self, config: CloudConfig, store: Store, guard: Guard, clock: Clock) -> None:
        self._project = config.project
        self._place = f"projects/{config.project}/locations/{config.region}"
        self._verified = config.domains
        self._table = store.table("run_domain_mappings")
        self._services = store.table("run_services")
        self._guard = guard
        self._clock = clock

    def methods(self) -> Mapping[tuple[str, str], Handler]:
        """Return the methods by collection and name."""
        return {
            ("domainmappings", "create"): self.create,
            ("domainmappings", "get"): self.get,
            ("domainmappings", "list"): self.list_mappings,
            ("domainmappings", "delete"): self.delete,
            ("authorizeddomains", "list"): self.list_domains,
        }

    async def create(self, call: V1Call) -> Json:
        meta, spec = call.body.get("metadata", {}), call.body.get("spec", {})
        domain = str(meta.get("name", ""))
        self._allow(call, "create", domain)
        if not _DOMAIN.fullmatch(domain):
            raise InvalidArgument(
                f"metadata.name is {domain[:100]!r}; it must be a domain such as www.example.com."
            )
        if unknown := sorted(set(spec) - _KNOWN):
            raise Unimplemented(f"spec.{unknown[0][:60]} is not emulated.")
        if not spec.get("routeName"):
            raise InvalidArgument("spec.routeName is required: the name of a service.")
        if spec.setdefault("certificateMode", _MODES[0]) not in _MODES:
            raise InvalidArgument(
                f"spec.certificateMode is {str(spec['certificateMode'])[:40]!r}; use AUTOMATIC or NONE."
            )
        if self._table.get(domain) is not None:
            raise AlreadyExists(f"Resource '{domain}' already exists.")
        record: Json = {
            "apiVersion": VERSION,
            "kind": "DomainMapping",
            "metadata": {
                "name": domain,
                "namespace": self._project,
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": self._now(),
                "labels": meta.get("labels", {}),
                "annotations": meta.get("annotations", {}),
            },
            "spec": spec,
        }
        self._table.put(domain, kept(record))
        return self._told(record)

    async def get(self, call: V1Call) -> Json:
        self._allow(call, "get", call.short)
        return self._told(self._existing(call.short))

    async def list_mappings(self, call: V1Call) -> Json:
        self._allow(call, "list", "")
        found = records(value for _, value in self._table.scan())
        return listed("DomainMapping", VERSION, [self._told(each) for each in found])

    async def delete(self, call: V1Call) -> Json:
        self._allow(call, "delete", call.short)
        self._existing(call.short)
        self._table.delete(call.short)
        return {"apiVersion": "v1", "kind": "Status", "status": "Success"}

    async def list_domains(self, call: V1Call) -> Json:
        self._allow(call, "list", "")
        return {"domains": [{"id": each, "name": each} for each in self._verified]}

    def _told(self, record: Json) -> Json:
        """Return a mapping with its conditions as they are now."""
        domain, route = record["metadata"]["name"], record["spec"]["routeName"]
        status: Json = {"observedGeneration": 1, "mappedRouteName": route}
        reason, message = self._lack(domain, route)
        if not reason:
            status["resourceRecords"] = _dns_records(domain, self._verified)
        state = "False" if reason else "True"
        since = record["metadata"]["creationTimestamp"]
        condition = {"status": state, "lastTransitionTime": since}
        if reason:
            condition |= {"reason": reason, "message": message}
        region = {"cloud.googleapis.com/location": self._place.rpartition("/")[2]}
        meta = {**record["metadata"], "labels": region | record["metadata"]["labels"]}
        types = ("Ready", "CertificateProvisioned", "DomainRoutable")
        status["conditions"] = [{"type": each, **condition} for each in types]
        return {**record, "metadata": meta, "status": status}

    def _lack(self, domain: str, route: str) -> tuple[str, str]:
        """Return why a domain does not lead to a service: reason and message, empty if it does."""
        if not any(domain == each or domain.endswith(f".{each}") for each in self._verified):
            return "PermissionDenied", _UNVERIFIED.format(domain=domain)
        if self._services.get(f"{self._place}/services/{route}") is None:
            return "RouteMissing", f"Route {route} does not exist."
        return "", ""

    def _existing(self, domain: str) -> Json:
        value = self._table.get(domain)
        if value is None:
            raise NotFound(f"Resource '{domain[:253]}' of kind 'DOMAIN_MAPPING' does not exist.")
        return records([value])[0]

    def _allow(self, call: V1Call, verb: str, domain: str) -> None:
        resource = f"{self._place}/domainmappings/{domain}" if domain else self._place
        self._guard.require(call.caller, f"run.domainmappings.{verb}", resource)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).isoformat().replace("+00:00", "Z")


def _dns_records(domain: str, verified: tuple[str, ...]) -> list[Json]:
    """Return the records that the owner of a domain must publish."""
    if domain in verified:
        addresses = [("A", each) for each in _A] + [("AAAA", each) for each in _AAAA]
        return [{"type": kind, "rrdata": address} for kind, address in addresses]
    return [{"name": domain.partition(".")[0], "type": "CNAME", "rrdata": _CNAME}]

"""Workload identity pools and their providers, as they are kept: `POOL` and `POOL/providers/ID`.

A deleted one is kept for 30 days, in which it can be restored and its id cannot be used again. A
token of a pool that is disabled or deleted gives no access; one of a provider that is gives it until
it expires.

See https://cloud.google.com/iam/docs/workload-identity-federation.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from devenv.gcp.config import CloudConfig
from devenv.gcp.store import Store

PRINCIPAL = "principal://iam.googleapis.com/"
PRINCIPAL_SET = "principalSet://iam.googleapis.com/"
KEPT = 30 * 86_400  # seconds of a deleted pool or provider


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool or a provider: `key` as in the module, `settings` under their JSON names.

    `deleted` is the moment of its deletion in Unix seconds, 0 before.
    """

    key: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    deleted: float = 0.0

    @property
    def is_active(self) -> bool:
        return not self.deleted and not self.settings.get("disabled")

    def dump(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def load(cls, value: bytes) -> Self:
        return cls(**json.loads(value))


class Pools:
    """The pools of one project; `name` is the place of all of them, with the project's number."""

    def __init__(self, config: CloudConfig, store: Store) -> None:
        self._table = store.table("iam_workload_pools")
        self.name = f"projects/{config.number}/locations/global/workloadIdentityPools"

    def get(self, key: str) -> PoolRecord | None:
        value = self._table.get(key)
        return PoolRecord.load(value) if value else None

    def put(self, record: PoolRecord) -> PoolRecord:
        self._table.put(record.key, record.dump())
        return record

    def below(self, pool: str, *, now: float) -> Iterator[PoolRecord]:
        """Yield the providers of a pool, or all pools for an empty one, in the order of their ids.

        Records that were deleted long ago are removed first.
        """
        for key, value in list(self._table.scan()):
            record = PoolRecord.load(value)
            if record.deleted and record.deleted + KEPT <= now:
                self._table.delete(key)
            elif (key.rpartition("/providers/")[0] if "/" in key else "") == pool:
                yield record

    def is_live(self, principal: str) -> bool:
        """Return whether the pool of `principal://…/POOL/subject/NAME` gives access."""
        pool = principal.removeprefix(f"{PRINCIPAL}{self.name}/").partition("/")[0]
        record = self.get(pool)
        return record is not None and record.is_active

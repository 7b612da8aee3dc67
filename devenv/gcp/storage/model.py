"""What Cloud Storage keeps: buckets, objects and the bytes under them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes at rest and their checksums in base64; composed bytes have no MD5, as at Google."""

    blob: str
    size: int
    crc32c: str
    md5: str = ""
    components: int = 0


@dataclass(frozen=True, slots=True)
class Object:
    """One generation of an object. `fields` are what a client may set, under their JSON names."""

    bucket: str
    name: str
    generation: int
    content: Content
    created: float
    updated: float
    metageneration: int = 1
    deleted: float = 0.0
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        tag = f"{self.generation}/{self.metageneration}"
        return base64.b64encode(tag.encode()).decode()

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        values = json.loads(text)
        return cls(**values | {"content": Content(**values["content"])})


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket. `fields` are what a client may set, under their JSON names."""

    name: str
    created: float
    updated: float
    metageneration: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def versioned(self) -> bool:
        versioning = self.fields.get("versioning")
        return isinstance(versioning, Mapping) and versioning.get("enabled") is True

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        return cls(**json.loads(text))

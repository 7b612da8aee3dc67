"""A stack with foreign containers: the stand-in of the published ones in all its variants."""

from dataclasses import dataclass
from pathlib import Path

from tests.containers import Servers
from tests.engine import STANDIN
from tests.flows import stack as stacks
from tests.flows.stack import Stack

ACCOUNT = "validator-foreign"
_SEEDS = {"energyplus": "energyplus-design-day", "fmu": "fmu-decay"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A job of the stand-in; its name is the slug of its validator and its workflow too."""

    behaviour: str
    kind: str = "energyplus"
    timeout: float = 120
    max_retries: int = 0

    @property
    def slug(self) -> str:
        again = "-again" if self.max_retries else ""
        return f"{self.kind}-{self.behaviour}{again}".replace("_", "-")

    @property
    def toml(self) -> str:
        return f"""
[[gcp.jobs]]
name = "{self.slug}"
image = "{STANDIN}"
account = "{ACCOUNT}"
timeout = {self.timeout:.1f}
max_retries = {self.max_retries}
env = {{ DEPLOYMENT_TARGET = "gcp", STANDIN = "{self.behaviour}", STANDIN_KIND = "{self.kind}" }}
"""


# Has read nothing and stored nothing; the tests answer in its stead.
IDLE = Variant(behaviour="idle")
VARIANTS = (
    *(Variant(behaviour=name) for name in ("success", "failed_validation", "failed_runtime")),
    *(Variant(behaviour=name) for name in ("explode", "vanish", "die", "silent", "hang")),
    *(Variant(behaviour=name, kind="fmu") for name in ("success", "explode", "vanish")),
    Variant(behaviour="explode", max_retries=1),
    Variant(behaviour="hang", kind="fmu", timeout=3),
    IDLE,
)
_AS_PROCESS = f"""
[[gcp.images]]
name = "{STANDIN}"
command = [ "{{python}}", "-m", "tests.standin.container" ]
"""


def start(root: Path, *, servers: Servers | None = None) -> Stack:
    cloud = _AS_PROCESS + "".join(variant.toml for variant in VARIANTS)
    stack = stacks.make(root, validators=[ACCOUNT], cloud=cloud, servers=servers)
    stacks.start(stack)
    slugs = {variant.slug: _SEEDS[variant.kind] for variant in VARIANTS}
    plant = f"from tests.standin.catalogue import plant; plant({slugs!r})"
    planted = stack.devenv("run", "python", "manage.py", "shell", "-c", plant)
    assert planted.returncode == 0, planted.stderr
    return stack


def launch(stack: Stack, variant: Variant) -> str:
    """Launch a workflow of one foreign container; return the run's id."""
    sample = stack.sample(_SEEDS[variant.kind])
    answer = stack.launch(variant.slug, sample.read_bytes(), sample.name, Prefer="wait=0")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])

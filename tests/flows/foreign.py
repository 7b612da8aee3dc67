"""A stack with foreign containers: the stand-in for the published ones in all variants."""

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
    """A job of the stand-in; its name is also the slug of its validator and workflow."""

    behaviour: str
    kind: str = "energyplus"
    seconds: int = 120
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
max_retries = {self.max_retries}
env = {{ DEPLOYMENT_TARGET = "gcp", STANDIN = "{self.behaviour}", STANDIN_KIND = "{self.kind}" }}
"""


# Reads and stores nothing; the tests answer in its place, for as long as a busy machine needs.
IDLE = Variant(behaviour="idle", seconds=3600)
VARIANTS = (
    *(Variant(behaviour=name) for name in ("success", "failed_validation", "failed_runtime")),
    *(Variant(behaviour=name) for name in ("explode", "vanish", "die", "silent", "hang")),
    *(Variant(behaviour=name, kind="fmu") for name in ("success", "explode", "vanish")),
    Variant(behaviour="explode", max_retries=1),
    Variant(behaviour="hang", kind="fmu", seconds=3),
    IDLE,
)
_AS_PROCESS = f"""
[[gcp.images]]
name = "{STANDIN}"
command = [ "{{python}}", "-m", "tests.standin.container" ]
"""


def make(root: Path, *, servers: Servers | None = None) -> Stack:
    """Create the folder of a stack whose cloud has the jobs of all variants."""
    cloud = _AS_PROCESS + "".join(variant.toml for variant in VARIANTS)
    return stacks.make(root, validators=[ACCOUNT], cloud=cloud, servers=servers)


def create_workflows(stack: Stack) -> None:
    """Create the workflow of each variant in a running stack."""
    slugs = {variant.slug: (_SEEDS[variant.kind], variant.seconds) for variant in VARIANTS}
    code = f"from tests.standin.catalogue import create_workflows; create_workflows({slugs!r})"
    created = stack.devenv("run", "python", "manage.py", "shell", "-c", code)
    assert created.returncode == 0, created.stderr


def launch(stack: Stack, variant: Variant) -> str:
    """Launch a workflow of one foreign container; return the run's id."""
    sample = stack.sample(_SEEDS[variant.kind])
    answer = stack.launch(variant.slug, sample.read_bytes(), sample.name, Prefer="wait=0")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])

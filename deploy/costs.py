"""The cost of a stage in a month: quantities from its file and a number of runs, times list prices.

Free amounts are left out, so small stages cost less. docs/costs.md says how each quantity is found.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import DeployError
from deploy.simulate import RunProfile
from deploy.stage import DatabaseSize, ServiceSize, Stage

PRICES = Path(__file__).with_name("prices.toml")
_SCHEDULES = Path(__file__).parents[1] / "config" / "schedules.toml"
_HOUR = 3600
_MIB = 1024
# Of a validator's job: the largest of those that are shipped (docs/costs.md).
_JOB_CPU, _JOB_GIB = 2, 4
_IMAGES_GIB = 2.0
_SECRETS = 4
_LOG_BYTES, _EGRESS_BYTES = 8 * 1024, 100 * 1024
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """A list price; `checked` is the date on which somebody compared it with `page`, or empty."""

    price: float
    unit: str
    page: str
    checked: str


@dataclass(frozen=True, slots=True)
class CostLine:
    """A line of the sheet: `quantity` of the price called `price`, with the arithmetic of the quantity."""

    name: str
    price: str
    quantity: float
    arithmetic: str


@dataclass(frozen=True, kw_only=True)
class MonthlyLoad:
    """The load of a month: runs, and GiB of files and of rows that are kept."""

    runs: float
    files_gib: float
    rows_gib: float


def read_prices(path: Path = PRICES) -> tuple[str, float, dict[str, UnitPrice]]:
    """Return currency, hours of a month, and the prices by name. Raises DeployError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        currency, hours = str(data.pop("currency")), float(data.pop("hours"))
        return currency, hours, {name: UnitPrice(**table) for name, table in data.items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DeployError(
            f"{path}: {error}. Each price has the keys price, unit, page and checked."
        ) from None


def cost_lines(
    stage: Stage, load: MonthlyLoad, profile: RunProfile, hours: float
) -> Iterator[CostLine]:
    """Yield the lines of a stage."""
    runs, containers = load.runs, load.runs * profile.container_share
    requests = runs * profile.web_requests
    tasks = runs + containers
    yield from _service("web", stage.web, requests, profile.web_request_seconds, hours)
    # Each container calls back, too.
    yield from _service("worker", stage.worker, tasks + containers, profile.task_seconds, hours)
    seconds = containers * profile.container_seconds
    shown = f"{containers:,.0f} containers x {profile.container_seconds:g} s"
    yield CostLine("validators, processors", "job_cpu", seconds * _JOB_CPU, f"{shown} x {_JOB_CPU}")
    yield CostLine(
        "validators, memory", "job_memory", seconds * _JOB_GIB, f"{shown} x {_JOB_GIB} GiB"
    )
    if stage.database:
        yield from _database(stage.database, load, hours)
    yield CostLine("files", "storage", load.files_gib, f"{load.files_gib:g} GiB")
    for name, price, count in (
        ("files, writes", "storage_writes", profile.container_writes),
        ("files, reads", "storage_reads", profile.container_reads),
    ):
        yield CostLine(name, price, containers * count, f"{containers:,.0f} containers x {count:g}")
    yield CostLine("queue", "tasks", tasks * 2, f"{tasks:,.0f} tasks x 2")
    schedules = tomllib.loads(_SCHEDULES.read_text(encoding="utf-8"))["schedules"]
    yield CostLine("schedules", "schedules", len(schedules), f"{_SCHEDULES.name}")
    own = len(stage.secrets) + sum(map(len, stage.custom_secrets.values()))
    yield CostLine("secrets", "secrets", _SECRETS + own, f"{_SECRETS} + {own} of the stage")
    yield CostLine("images", "images", _IMAGES_GIB, f"{_IMAGES_GIB:g} GiB")
    for name, price, size in (("answers", "egress", _EGRESS_BYTES), ("logs", "logs", _LOG_BYTES)):
        yield CostLine(name, price, runs * size / _GIB, f"{runs:,.0f} runs x {size // 1024} KiB")


def _service(
    name: str, size: ServiceSize, requests: float, seconds: float, hours: float
) -> Iterator[CostLine]:
    """Yield the lines of a service: busy while it handles requests, warm for the rest of the month."""
    busy = requests * seconds
    warm = max(size.min_instances * hours * _HOUR - busy, 0.0)
    cpu, gib = int(size.cpu), _gib(size.memory)
    shown = f"{requests:,.0f} requests x {seconds:.3g} s"
    yield CostLine(f"{name}, busy", "service_cpu", busy * cpu, f"{shown} x {cpu} vCPU")
    idle = f"{size.min_instances} warm x {hours:g} h, less the busy time"
    yield CostLine(f"{name}, warm", "service_cpu_idle", warm * cpu, f"{idle} x {cpu} vCPU")
    yield CostLine(
        f"{name}, memory", "service_memory", (busy + warm) * gib, f"both times x {gib:g} GiB"
    )
    yield CostLine(f"{name}, requests", "service_requests", requests, f"{requests:,.0f}")


def _database(size: DatabaseSize, load: MonthlyLoad, hours: float) -> Iterator[CostLine]:
    copies = 2 if size.high_availability else 1
    shown = f"{hours:g} h x {copies}"
    machine = re.fullmatch(r"db-custom-([0-9]+)-([0-9]+)", size.tier)
    fast = re.fullmatch(r"db-perf-optimized-N-([0-9]+)", size.tier)
    if machine or fast:
        cpu = int(machine[1] if machine else fast[1] if fast else 0)
        gib = int(machine[2]) / _MIB if machine else cpu * 8.0
        yield CostLine(
            "database, processors", "sql_cpu", hours * copies * cpu, f"{shown} x {cpu} vCPU"
        )
        yield CostLine(
            "database, memory", "sql_memory", hours * copies * gib, f"{shown} x {gib:g} GiB"
        )
    else:
        yield CostLine("database", "sql_shared", hours * copies, shown)
    disk = max(size.disk_gb, load.rows_gib)
    yield CostLine("database, disk", "sql_disk", disk * copies, f"{disk:g} GiB x {copies}")
    # Backups are incremental: a full copy, and a tenth of it for each further one.
    kept = load.rows_gib * (1 + (size.backups - 1) / 10)
    shown = f"{load.rows_gib:g} GiB x (1 + {size.backups - 1} / 10)"
    yield CostLine("database, backups", "sql_backups", kept, shown)


def _gib(memory: str) -> float:
    return int(memory[:-2]) / (_MIB if memory.endswith("Mi") else 1)


def cost_sheet(stage: Stage, load: MonthlyLoad, profile: RunProfile) -> Iterator[str]:
    """Yield the sheet as lines of text: each line with its arithmetic, then the sum and what is unchecked."""
    currency, hours, prices = read_prices()
    yield f"{stage.name}, {load.runs:,.0f} runs in a month of {hours:g} h, in {currency}"
    total = 0.0
    for line in cost_lines(stage, load, profile, hours):
        price = prices[line.price]
        amount = line.quantity * price.price
        total += amount
        yield (
            f"{amount:>10,.2f}  {line.name}: {_plain(line.quantity)} x {_decimal(price.price)} per {price.unit}"
            f" ({line.arithmetic})"
        )
    each = f", {total / load.runs:.4f} for each run" if load.runs else ""
    yield f"{total:>10,.2f}  {currency} in all{each}"
    if unchecked := sum(not each.checked for each in prices.values()):
        yield f"{unchecked} of {len(prices)} prices were never compared with Google's pages: {PRICES.name}"


def _plain(quantity: float) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 or quantity == int(quantity) else f"{quantity:.2f}"


def _decimal(price: float) -> str:
    return f"{price:.8f}".rstrip("0")

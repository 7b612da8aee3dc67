"""The order in which services start and stop, from what each says that it needs."""

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from devenv.stack.errors import StackError
from devenv.stack.service import Service


def start_levels(services: Iterable[Service]) -> list[list[str]]:
    """Return names in levels: each level needs only what stands in earlier ones."""
    by_name = {service.name: service for service in services}
    for service in by_name.values():
        if missing := sorted(set(service.needs) - set(by_name)):
            raise StackError(f"{service.name} needs {missing[0]}, which is no service.")
    sorter = TopologicalSorter({name: service.needs for name, service in by_name.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise StackError(f"Services wait for each other: {' → '.join(error.args[1])}.") from error
    levels = []
    while sorter.is_active():
        level = sorter.get_ready()
        sorter.done(*level)
        levels.append(sorted(level))
    return levels


def stop_levels(services: Iterable[Service]) -> list[list[str]]:
    """Return names in levels: what nothing needs any more is stopped first."""
    services = list(services)
    dependents: dict[str, list[str]] = {service.name: [] for service in services}
    for service in services:
        for need in service.needs:
            dependents[need].append(service.name)
    reversed_services = [
        Service(name=name, command=(), environ=dict, needs=tuple(needs))
        for name, needs in dependents.items()
    ]
    return start_levels(reversed_services)

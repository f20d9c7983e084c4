"""The faults of the drill: how each is caused and mended, and which alerts it has to raise.

Each alert's ``for:`` and windows bound how soon it can fire and clear; ``deploy/observability/alerting`` has them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.drills.alerts.system import DrilledSystem

POISONED: Final = "drill-poisoned"
"""The order that the summary cannot apply."""


@dataclass(frozen=True, eq=False)
class Expected:
    """An alert that has to fire: its name, and those of its labels that say what is concerned."""

    name: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name}{{{', '.join(f'{key}={value}' for key, value in self.labels.items())}}}"

    def is_in(self, firing: Sequence[Mapping[str, str]]) -> bool:
        return any(each["alertname"] == self.name and self.labels.items() <= each.items() for each in firing)


@dataclass(frozen=True)
class Fault:
    name: str
    what: str
    cause: Callable[[DrilledSystem], Awaitable[None]]
    mend: Callable[[DrilledSystem], Awaitable[None]]
    alerts: Sequence[Expected]


def _frozen(name: str, what: str, *alerts: Expected) -> Fault:
    async def cause(system: DrilledSystem) -> None:
        await asyncio.to_thread(system.server(name).freeze)

    async def mend(system: DrilledSystem) -> None:
        await asyncio.to_thread(system.server(name).thaw)

    return Fault(name, what, cause, mend, alerts)


async def _kill_relay(system: DrilledSystem) -> None:
    await system.supervisor.kill("relay")


async def _start_relay(system: DrilledSystem) -> None:
    await system.supervisor.restart("relay")


async def _poison(system: DrilledSystem) -> None:
    await system.deploy("summary", TIDEMARK_POISON=f"summary:orders/{POISONED}")
    await system.place(POISONED)


async def _fix_and_replay(system: DrilledSystem) -> None:
    await system.deploy("summary")
    await system.replay("summary")


FAULTS: Final = (
    _frozen(
        "redis",
        "Redis does not answer: analytics stands still",
        Expected("TidemarkComponentUnhealthy", {"deployable": "analytics", "component": "store"}),
        Expected("TidemarkFreshnessBurnsFast", {"projection": "analytics"}),
    ),
    _frozen(
        "postgres",
        "PostgreSQL does not answer: nothing is decided, published or applied",
        Expected("TidemarkComponentUnhealthy", {"deployable": "worker", "component": "database"}),
        Expected("TidemarkFreshnessBurnsFast", {"projection": "summary"}),
    ),
    _frozen(
        "rabbitmq",
        "RabbitMQ does not answer: nothing is sent",
        Expected("TidemarkComponentUnhealthy", {"deployable": "relay"}),
        Expected("TidemarkFreshnessBurnsFast", {"projection": "search"}),
    ),
    Fault(
        "relay",
        "the relay is killed, and stays down",
        _kill_relay,
        _start_relay,
        (
            Expected("TidemarkProcessDown", {"deployable": "relay"}),
            Expected("TidemarkFreshnessBurnsFast", {"projection": "summary"}),
        ),
    ),
    Fault(
        "poison",
        "the summary cannot apply an event",
        _poison,
        _fix_and_replay,
        (Expected("TidemarkNewDeadLetters", {"projection": "summary"}),),
    ),
)
"""By the names that ``--fault`` takes, in the order of the drill."""
BY_NAME: Final = {fault.name: fault for fault in FAULTS}

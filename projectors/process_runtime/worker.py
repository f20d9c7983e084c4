"""The deployable ``processes``: runs every process manager.

    for each   projector   events ──▶ inputs            (gaps, resends and dead letters as for every projector)
               commands    its outbox ──▶ [commands]     one leader
               timers      what is due ──▶ inputs
    once       inbox       outcomes and operators' requests ──▶ inputs

Each writes to the process managers' stores only; any of them may die at any point, and its successor goes on from the tables.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from projectors.generations.gauges import GenerationGauges
from projectors.generations.hosting import Generations, HostedGeneration, role_of
from projectors.generations.requests import RefusedError
from projectors.process_runtime import retention
from projectors.process_runtime.figures import ProcessFigures
from projectors.process_runtime.inbox import PREFETCH as INBOX_PREFETCH
from projectors.process_runtime.inbox import QUEUES, Inbox
from projectors.process_runtime.managers import manager_named
from projectors.process_runtime.outgoing import CommandRelay
from projectors.process_runtime.store import ProcessStore
from projectors.process_runtime.timers import Timers
from projectors.processes.process import ProcessManager
from projectors.rebuild.pacing import LivePriority
from projectors.runtime.applying import Applier
from projectors.runtime.consumer import Projector
from projectors.runtime.measuring import LagMeter
from projectors.runtime.options import Options
from projectors.runtime.poison import with_poison
from projectors.stores.port import StoreUnavailableError
from projectors.stores.postgres_registry import PostgresRegistry
from shared.messaging import topology
from shared.messaging.announcing import Announcer
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer
from shared.messaging.queue_watch import QueueWatch
from shared.messaging.reports import Reports, started
from shared.observability import metrics, sampling
from shared.processes import NAMES, folder_of
from shared.runtime.health import Probe
from shared.runtime.outage import OutageRetry
from shared.runtime.process import Process, Stopped
from shared.runtime.settings import Settings
from shared.views.generations import Generation

NAME: Final = "processes"
PREFETCH: Final = 25
"""Messages of up to 100 events, for each lane."""

Task = Callable[[], Awaitable[None]]


class OneGeneration(PostgresRegistry):
    """The registry of a process manager: there is one generation. State is rebuilt from the processes' own history (``migrating``).

    It has the kinds of stream that are read now. An older stream of a kind that was added is read when it next changes, from its beginning.
    """

    def __init__(self, manager: ProcessManager, url: str) -> None:
        super().__init__(manager.name, url, first=folder_of(manager.name))
        self._kinds = tuple(manager.kinds)

    async def generations(self) -> Sequence[Generation]:
        found = []
        for one in await super().generations():
            if one.kinds != self._kinds:
                await self.note_kinds(one.number, one.kinds, self._kinds)
            found.append(one.model_copy(update={"kinds": self._kinds}))
        return found

    async def begin(self, number: int, *, kinds: Sequence[str], rate: float | None, by: str) -> None:
        raise RefusedError("one-generation", "processes are rebuilt from their own history: tidemark processes migrate")


class RunningManager:
    """One process manager with its connections and tasks."""

    def __init__(
        self,
        manager: ProcessManager,
        settings: Settings,
        publisher: Publisher,
        commands: Publisher,
        stop: asyncio.Event,
    ) -> None:
        url, rabbitmq_url = settings.processes_url(), settings.require("rabbitmq_url")
        options = Options.of(manager.name, settings)
        self.name = manager.name
        self.store = ProcessStore(manager, url)
        self.outages = OutageRetry(
            f"the {manager.name} store",
            lambda error: isinstance(error, StoreUnavailableError),
            stopping=stop,
            longest_pause_s=options.longest_pause_s,
        )
        lanes = [topology.lane_queue(self.name, lane) for lane in range(settings.lanes)]
        self._consumer = Consumer(
            rabbitmq_url, [*lanes, topology.control_queue(self.name)], prefetch=PREFETCH, name=self.name
        )
        self._generations = Generations(
            OneGeneration(manager, url),
            lambda generation: self._hosted(generation, options, settings),
            self.outages,
            manager.kinds,
        )
        self.gauges = GenerationGauges(self.name, self._generations)
        self._projector = Projector(
            self.name,
            self._generations,
            self._consumer,
            publisher,
            self.outages,
            options,
            lag=LagMeter(),
            live_priority=LivePriority(),
        )
        self._relay = CommandRelay(self.name, url, commands, resend_after_s=settings.command_resend_after_s)
        self._timers = Timers(self.store, self.outages)
        self._retention = retention.pruner(manager.name, url)

    def workers(self, stop: asyncio.Event) -> Mapping[str, Task]:
        return {
            self.name: lambda: self._projector.run(stop),
            f"{self.name} commands": lambda: self._relay.run(stop),
            f"{self.name} timers": lambda: _until_stopped(self._timers.run(stop)),
            f"{self.name} retention": lambda: self._retention.run(stop),
        }

    def background(self) -> Mapping[str, Task]:
        figures = ProcessFigures(self.store)
        return {
            f"{self.name} consumer": self._consumer.run,
            f"{self.name} holds": sampling.Figures(self.gauges.read_held, metrics.HELD).run,
            f"{self.name} figures": sampling.Figures(
                figures.read, metrics.PROCESS_COUNT, metrics.TIMERS_OVERDUE, metrics.PROCESS_COMMANDS
            ).run,
        }

    def probes(self) -> Mapping[str, Probe]:
        return {
            f"{self.name} consumer": lambda: self._consumer.trouble,
            f"{self.name} store": lambda: self.outages.trouble,
            f"{self.name} epoch": lambda: self._projector.trouble,
            f"{self.name} lanes": lambda: self._projector.silent_lanes,
            f"{self.name} commands": lambda: self._relay.trouble,
            f"{self.name} queues": lambda: self._consumer.queues_trouble,
            f"{self.name} retention": lambda: self._retention.trouble,
        }

    async def close(self) -> None:
        with suppress(TimeoutError):
            await self._generations.close()
        await self.store.close()

    def _hosted(self, generation: Generation, options: Options, settings: Settings) -> HostedGeneration:
        """The store is shared with the other tasks, and closed with them."""
        store = with_poison(self.name, self.store, settings)
        applier = Applier(
            self.name,
            store,
            tiers=topology.RETRY_TIERS[: options.retries],
            clock=lambda: datetime.now(UTC),
            role=role_of(generation),
        )
        return HostedGeneration(generation, store, applier)


async def run(settings: Settings, managers: Sequence[ProcessManager] | None = None) -> int:
    """Run these process managers, by default all, until stopped; returns the exit code."""
    rabbitmq_url = settings.require("rabbitmq_url")
    process = Process(NAME, runtime_dir=settings.runtime_dir)
    stop = process.stopping
    publisher, commands = Publisher(rabbitmq_url, NAME), Publisher(rabbitmq_url, f"{NAME} commands")
    chosen = [manager_named(name, settings) for name in NAMES] if managers is None else managers
    running = [RunningManager(manager, settings, publisher, commands, stop) for manager in chosen]
    consumer = Consumer(rabbitmq_url, QUEUES, prefetch=INBOX_PREFETCH, name=NAME)
    outages = OutageRetry("the process database", lambda error: isinstance(error, StoreUnavailableError), stopping=stop)
    inbox = Inbox({each.name: each.store for each in running}, consumer, publisher, outages)
    queues = QueueWatch(publisher.connected, _publish_queues([each.name for each in running]))
    workers: dict[str, Task] = {"inbox": lambda: _until_stopped(inbox.run(stop))}
    reports = Reports(publisher, started(NAME, settings.build))
    background: dict[str, Task] = {"consumer": consumer.run, "queues": queues.run, "reports": reports.run}
    probes: dict[str, Probe] = {
        "consumer": lambda: consumer.trouble,
        "inbox": lambda: outages.stalls.trouble,
        "publisher": lambda: publisher.trouble,
        "queues": lambda: queues.trouble or consumer.queues_trouble,
    }
    for each in running:
        workers |= each.workers(stop)
        background |= each.background()
        probes |= each.probes()
        process.samplers.append(each.gauges.sample)
    try:
        return await process.run(workers, background=background, probes=probes, announcer=Announcer(NAME, publisher))
    finally:
        await publisher.close()
        await commands.close()
        for each in running:
            await each.close()


async def _until_stopped(work: Awaitable[None]) -> None:
    with suppress(Stopped):
        await work


def _publish_queues(names: Sequence[str]) -> list[str]:
    """The queues to which process managers publish."""
    tiers = [topology.retry_queue(name, tier) for name in names for tier, _ in topology.RETRY_TIERS]
    dead = [topology.dead_queue(name) for name in names]
    return [*tiers, *dead, topology.RESEND_QUEUE, topology.COMMAND_QUEUE]

"""Runs a projector as a process: its connections, its generations, and the two tasks that apply live events and history."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from projectors.generations.gauges import GenerationGauges
from projectors.generations.hosting import Generations, HostedGeneration, role_of
from projectors.rebuild.pacing import BatchSizer, LivePriority
from projectors.rebuild.rebuilder import Rebuilder
from projectors.runtime.applying import Applier
from projectors.runtime.change_publisher import ChangePublisher
from projectors.runtime.consumer import Projector
from projectors.runtime.measuring import LagMeter
from projectors.runtime.opening import EventOpener
from projectors.runtime.options import Options
from projectors.runtime.poison import with_poison
from projectors.stores.port import StoreUnavailableError
from projectors.stores.projection import projection_of
from shared.messaging import topology
from shared.messaging.announcing import INCOMPLETE, Announcer
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer
from shared.messaging.queue_watch import QueueWatch
from shared.messaging.reports import Reports, started
from shared.observability import metrics, sampling
from shared.privacy.key_cache import KeyCache
from shared.privacy.key_database import KeyDatabase
from shared.read_models import named
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import is_outage
from shared.runtime.process import Process
from shared.runtime.settings import Settings
from shared.views.generations import Generation

PREFETCH: Final = 25
"""Messages of up to 100 events, for each lane: bounds a projector's memory."""
HISTORY_PREFETCH: Final = 150


async def run(name: str, settings: Settings) -> int:
    """Run one projector until it is stopped; returns the exit code."""
    model = projection_of(name)
    rabbitmq_url = settings.require("rabbitmq_url")
    options = Options.of(name, settings)
    process = Process(name, runtime_dir=settings.runtime_dir)
    lanes = [topology.lane_queue(name, lane) for lane in range(settings.lanes)]
    consumer = Consumer(rabbitmq_url, [*lanes, topology.control_queue(name)], prefetch=PREFETCH, name=name)
    history = Consumer(rabbitmq_url, [topology.history_queue(name)], prefetch=HISTORY_PREFETCH, name=f"{name} history")
    publisher = Publisher(rabbitmq_url, name)
    queues = QueueWatch(publisher.connected, _publish_queues(name))
    outages = OutageRetry(
        f"the {name} store",
        lambda error: isinstance(error, StoreUnavailableError),
        stopping=process.stopping,
        longest_pause_s=options.longest_pause_s,
    )
    change_publishers: list[ChangePublisher] = []

    def hosted(generation: Generation) -> HostedGeneration:
        store = with_poison(name, model.store(settings, generation.number), settings)
        change_publisher = ChangePublisher(name, publisher, generation=generation.number)
        change_publishers.append(change_publisher)
        applier = Applier(
            name,
            store,
            tiers=topology.RETRY_TIERS[: options.retries],
            clock=lambda: datetime.now(UTC),
            publish_changes=change_publisher.publish,
            role=role_of(generation),
        )
        return HostedGeneration(generation, store, applier)

    read_model = named(name)
    opener = _opener(settings, process) if read_model.has_personal_data else None
    generations = Generations(model.registry(settings), hosted, outages, read_model.kinds)
    lag, live_priority = LagMeter(), LivePriority()
    projector = Projector(
        name,
        generations,
        consumer,
        publisher,
        outages,
        options,
        lag=lag,
        live_priority=live_priority,
        opener=opener,
    )
    rebuilder = Rebuilder(
        name,
        generations,
        history,
        publisher,
        outages,
        options,
        lag=lag,
        live_priority=live_priority,
        batch_sizer=BatchSizer(model.batch_target_s),
        max_batches=model.history_batches,
        opener=opener,
    )
    gauges = GenerationGauges(name, generations)
    process.samplers.append(gauges.sample)
    try:
        code = await process.run(
            {
                name: lambda: projector.run(process.stopping),
                "history": lambda: rebuilder.run(process.stopping),
            },
            background={
                "consumer": consumer.run,
                "history consumer": history.run,
                "queues": queues.run,
                "reports": Reports(publisher, started(name, settings.build)).run,
                "figures": sampling.Figures(gauges.read_held, metrics.HELD).run,
            },
            probes={
                "consumer": lambda: consumer.trouble,
                "history": lambda: history.trouble,
                "store": lambda: outages.trouble,
                "keys": lambda: opener.trouble if opener is not None else None,
                "epoch": lambda: projector.trouble,
                "lanes": lambda: projector.silent_lanes,
                "publisher": lambda: publisher.trouble,
                "queues": lambda: queues.trouble or consumer.queues_trouble or history.queues_trouble,
                INCOMPLETE: lambda: projector.incomplete,
            },
            starts_without={INCOMPLETE},
            announcer=Announcer(name, publisher),
        )
        for change_publisher in change_publishers:
            await change_publisher.close()
        return code
    finally:
        await publisher.close()
        if opener is not None:
            await opener.close()
        with suppress(TimeoutError):
            await generations.close()


def _opener(settings: Settings, process: Process) -> EventOpener:
    keys = KeyCache(KeyDatabase(settings.require("keys_db_url")))
    return EventOpener(keys, OutageRetry("the key database", is_outage, stopping=process.stopping))


def _publish_queues(projector: str) -> list[str]:
    """The queues to which a projector publishes failed events and control requests."""
    tiers = [topology.retry_queue(projector, tier) for tier, _ in topology.RETRY_TIERS]
    return [*tiers, topology.dead_queue(projector), topology.RESEND_QUEUE, topology.HISTORY_QUEUE]

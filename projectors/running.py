"""A projector as a process: its connections, its generations, and the two tasks that feed them, with live events and with history."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from projectors.applying import Applier
from projectors.consumer import Projector
from projectors.drill import drilled
from projectors.generations import Generations, Hosted, role_of
from projectors.herald import Herald
from projectors.lag import Lag
from projectors.options import Options
from projectors.pace import Pace
from projectors.patience import Patience
from projectors.precedence import Precedence
from projectors.rebuilding import Rebuilder
from projectors.registry import READ_MODELS
from shared import topology
from shared.announcing import Announcer
from shared.broker import Publisher
from shared.consuming import Consumer
from shared.process import Process
from shared.queue_watch import QueueWatch
from shared.settings import Settings
from shared.views.generations import Generation

PREFETCH: Final = 25
"""Messages of up to 100 events, for each lane: what bounds a projector's memory."""
HISTORY_PREFETCH: Final = 150


async def run(name: str, settings: Settings) -> int:
    """One projector, as a deployable."""
    model = READ_MODELS[name]
    rabbitmq_url = settings.require("rabbitmq_url")
    options = Options.of(name, settings)
    process = Process(name, runtime_dir=settings.runtime_dir)
    lanes = [topology.lane_queue(name, lane) for lane in range(settings.lanes)]
    consumer = Consumer(rabbitmq_url, [*lanes, topology.control_queue(name)], prefetch=PREFETCH, name=name)
    history = Consumer(rabbitmq_url, [topology.history_queue(name)], prefetch=HISTORY_PREFETCH, name=f"{name} history")
    publisher = Publisher(rabbitmq_url, name)
    queues = QueueWatch(publisher.connected, _written_to(name))
    patience = Patience(name, publisher, stopping=process.stopping, longest_pause_s=options.longest_pause_s)
    heralds: list[Herald] = []

    def hosted(generation: Generation) -> Hosted:
        store = drilled(name, model.store(settings, generation.number), settings)
        herald = Herald(name, publisher, generation=generation.number)
        heralds.append(herald)
        applier = Applier(
            name,
            store,
            tiers=topology.RETRY_TIERS[: options.retries],
            clock=lambda: datetime.now(UTC),
            tell=herald.tell,
            role=role_of(generation),
        )
        return Hosted(generation, store, applier)

    generations = Generations(model.registry(settings), hosted, patience)
    lag, precedence = Lag(), Precedence()
    projector = Projector(name, generations, consumer, patience, options, lag=lag, precedence=precedence)
    rebuilder = Rebuilder(
        name,
        generations,
        history,
        patience,
        options,
        lag=lag,
        precedence=precedence,
        pace=Pace(model.moment_s),
        most=model.portions,
    )
    try:
        code = await process.run(
            {
                name: lambda: projector.run(process.stopping),
                "history": lambda: rebuilder.run(process.stopping),
            },
            background={"consumer": consumer.run, "history consumer": history.run, "queues": queues.run},
            probes={
                "consumer": lambda: consumer.trouble,
                "history": lambda: history.trouble,
                "store": lambda: patience.trouble,
                "epoch": lambda: projector.trouble,
                "lanes": lambda: projector.silence,
                "publisher": lambda: publisher.trouble,
                "queues": lambda: queues.trouble or consumer.queues_trouble or history.queues_trouble,
            },
            announcer=Announcer(name, publisher),
        )
        for herald in heralds:
            await herald.close()
        return code
    finally:
        await publisher.close()
        with suppress(TimeoutError):
            await generations.close()


def _written_to(projector: str) -> list[str]:
    """The queues that a projector's failed events, and what it asks of others, go to."""
    tiers = [topology.retry_queue(projector, tier) for tier, _ in topology.RETRY_TIERS]
    return [*tiers, topology.dead_queue(projector), topology.RESEND_QUEUE, topology.HISTORY_QUEUE]

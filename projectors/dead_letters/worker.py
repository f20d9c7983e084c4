"""The dead-letter worker: the only writer of the operations database.

    inbox      letters, progress messages, reports and operators' requests, from RabbitMQ into tables
    engine     replay jobs, discards and edited commands, from tables to RabbitMQ
    retention  removes what is too old

They communicate through the tables only: either may die at any point, and its successor continues from the tables.
"""

from typing import Final

from projectors.dead_letters import figures, outage, queue_figures, retention
from projectors.dead_letters.inbox import PREFETCH, QUEUES, Inbox
from projectors.dead_letters.queue_depths import QueueDepths
from projectors.dead_letters.replaying.engine import ReplayEngine
from projectors.dead_letters.sealing import Sealing
from shared.messaging import topology
from shared.messaging.announcing import Announcer
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Consumer
from shared.messaging.queue_watch import QueueWatch
from shared.messaging.reports import Reports, started
from shared.observability.sampling import Figures
from shared.privacy.key_database import KeyDatabase
from shared.runtime.postgres import Database
from shared.runtime.process import Process
from shared.runtime.settings import Settings
from shared.views.operations import SCHEMA

NAME: Final = "dead_letters"
LETTERS_EVERY_S: Final = 15.0
QUEUES_EVERY_S: Final = 5.0
WRITTEN_TO: Final = (
    *map(topology.control_queue, topology.SUBSCRIBERS),
    topology.RESEND_QUEUE,
    topology.COMMAND_QUEUE,
)


async def run(settings: Settings) -> int:
    """The deployable ``dead_letters``."""
    rabbitmq_url, database_url = settings.require("rabbitmq_url"), settings.require("operations_db_url")
    process = Process(NAME, runtime_dir=settings.runtime_dir)
    consumer = Consumer(rabbitmq_url, QUEUES, prefetch=PREFETCH, name=NAME)
    publisher = Publisher(rabbitmq_url, NAME)
    database = Database(database_url, schema=SCHEMA)
    queues = QueueWatch(publisher.connected, WRITTEN_TO)
    engine = ReplayEngine(database_url, SCHEMA, publisher, outage.retry(process.stopping))
    pruner = retention.pruner(database_url)
    keys = KeyDatabase(settings.require("keys_db_url"))
    inbox = Inbox(consumer, database, publisher, outage.retry(process.stopping), Sealing(keys), on_change=engine.wake)
    letters = figures.OperationsFigures(database)
    census = queue_figures.QueueFigures(publisher.connected, settings.lanes)
    depths = QueueDepths(database, lambda: census.latest)
    try:
        return await process.run(
            {
                "inbox": lambda: inbox.run(process.stopping),
                "engine": lambda: engine.run(process.stopping),
                "retention": lambda: pruner.run(process.stopping),
            },
            background={
                "consumer": consumer.run,
                "queues": queues.run,
                "reports": Reports(publisher, started(NAME, settings.build)).run,
                "figures": Figures(letters.read, *figures.FAMILIES, every_s=LETTERS_EVERY_S).run,
                "queue figures": Figures(census.read, *queue_figures.FAMILIES, every_s=QUEUES_EVERY_S).run,
                "queue depths": Figures(depths.keep, every_s=QUEUES_EVERY_S).run,
            },
            probes={
                "consumer": lambda: consumer.trouble,
                "database": lambda: inbox.trouble,
                "engine": lambda: engine.trouble,
                "publisher": lambda: publisher.trouble,
                "queues": lambda: queues.trouble or consumer.queues_trouble,
                "retention": lambda: pruner.trouble,
            },
            announcer=Announcer(NAME, publisher),
        )
    finally:
        await publisher.close()
        await engine.close()
        await database.close()
        await keys.close()

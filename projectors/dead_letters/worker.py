"""The dead-letter worker: the one writer of the operations database.

    desk     letters, news and operators' requests, from RabbitMQ into tables
    engine   replay jobs, discards and edited commands, from tables to RabbitMQ

The tables stand between the two: either may die at any point, and the next one goes on from what they say.
"""

from typing import Final

from projectors.dead_letters.desk import PREFETCH, QUEUES, Desk
from projectors.dead_letters.replay import Engine
from shared import topology
from shared.announcing import Announcer
from shared.broker import Publisher
from shared.consuming import Consumer
from shared.postgres import Database
from shared.process import Process
from shared.queue_watch import QueueWatch
from shared.settings import Settings
from shared.views.operations import SCHEMA

NAME: Final = "dead_letters"
WRITTEN_TO: Final = (
    *map(topology.control_queue, topology.PROJECTORS),
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
    engine = Engine(database_url, SCHEMA, publisher)
    desk = Desk(consumer, database, publisher, on_news=engine.news)
    try:
        return await process.run(
            {"desk": lambda: desk.run(process.stopping), "engine": lambda: engine.run(process.stopping)},
            background={"consumer": consumer.run, "queues": queues.run},
            probes={
                "consumer": lambda: consumer.trouble,
                "database": lambda: desk.trouble,
                "engine": lambda: engine.trouble,
                "publisher": lambda: publisher.trouble,
                "queues": lambda: queues.trouble or consumer.queues_trouble,
            },
            announcer=Announcer(NAME, publisher),
        )
    finally:
        await publisher.close()
        await engine.close()
        await database.close()

"""The deployable ``http``: serves the ingress."""

from typing import Final

from command_service.http import scheduled
from command_service.http.ingress import Ingress, create_app
from command_service.http.outcome_waiting import OutcomeReader
from command_service.http.stream_reading import StreamReader
from command_service.http.streams import Streams
from command_service.scheduling.acts_switch import ActsSwitch
from shared.http.identities.credentials import Authentication
from shared.http.rate_limits import rate_limits
from shared.http.screening.configuration import screening
from shared.http.server import HttpServer
from shared.messaging import topology
from shared.messaging.broker import Publisher
from shared.messaging.denials import Denials
from shared.messaging.queue_watch import QueueWatch
from shared.messaging.reports import Reports, started
from shared.runtime.health import Probe
from shared.runtime.process import Process
from shared.runtime.settings import Settings

CONFIRM_DEADLINE_S: Final = 3.0
"""A sender gets an error if RabbitMQ has not confirmed its command by then."""
CHECK_EVERY_S: Final = 1.0
WORKER: Final = "worker"
"""The probe of the worker: while it fails, commands are still accepted and stored."""


async def run(settings: Settings) -> int:
    rabbitmq_url, write_db_url = settings.require("rabbitmq_url"), settings.require("write_db_url")
    publisher = Publisher(rabbitmq_url, "http", deadline_s=CONFIRM_DEADLINE_S)
    queues = QueueWatch(publisher.connected, [topology.COMMAND_QUEUE], every_s=CHECK_EVERY_S)
    outcomes = OutcomeReader(write_db_url, rabbitmq_url)
    probes: dict[str, Probe] = {
        "broker": lambda: queues.trouble,
        "database": lambda: outcomes.trouble,
        "replies": lambda: outcomes.replies.trouble,
        WORKER: lambda: outcomes.processes.trouble(WORKER),
    }
    authentication = Authentication(settings)
    probes |= authentication.probes
    denials = Denials("command_service", publisher)
    reports = Reports(publisher, started("http", settings.build))
    streams = Streams(StreamReader(write_db_url))
    acts = ActsSwitch(settings.operations_db_url) if settings.operations_db_url else None
    # Without the keys' database the known keys go on.
    ingress = Ingress(publisher, outcomes, probes, serves_without={WORKER, *authentication.probes})
    app = create_app(
        ingress,
        streams,
        scheduled.ROUTES,
        authenticator=authentication.authenticator,
        limits=rate_limits(settings),
        report_denial=denials.note,
        acts=acts,
    )
    server = HttpServer(app, settings.host, settings.command_port, screening=screening(settings))
    probes["server"] = lambda: server.trouble
    process = Process("http", runtime_dir=settings.runtime_dir, address=server.address)
    try:
        return await process.run(
            {"server": lambda: server.run(process.stopping), "denials": lambda: denials.run(process.stopping)},
            background={
                "replies": outcomes.run,
                "queues": queues.run,
                "reports": reports.run,
                "database": outcomes.watch,
                **authentication.background,
            },
            probes=probes,
            starts_without={WORKER},
        )
    finally:
        await publisher.close()
        await outcomes.close()
        await streams.reader.close()
        if acts is not None:
            await acts.close()
        await authentication.close()

"""The deployable ``http``: the ingress, served."""

from command_service.ingress import Ingress, create_app
from command_service.outcomes import Outcomes
from shared.broker import Publisher
from shared.http import HttpServer
from shared.process import Process
from shared.settings import Settings


async def run(settings: Settings) -> int:
    rabbitmq_url, write_db_url = settings.require("rabbitmq_url"), settings.require("write_db_url")
    publisher = Publisher(rabbitmq_url, "http")
    outcomes = Outcomes(write_db_url, rabbitmq_url)
    server = HttpServer(create_app(Ingress(publisher, outcomes)), settings.host, settings.command_port)
    process = Process("http", runtime_dir=settings.runtime_dir, address=server.address)
    try:
        return await process.run(
            {"server": lambda: server.run(process.stopping)},
            background={"replies": outcomes.run},
            probes={
                "server": lambda: server.trouble,
                "replies": lambda: None if outcomes.reply_to else "no place for answers yet",
            },
        )
    finally:
        await publisher.close()
        await outcomes.close()

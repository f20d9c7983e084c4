"""``python -m query_service``: one process, one event loop; it starts, and says so, also while its stores are away."""

from query_service.app import create_app, open_stores
from query_service.news import News
from query_service.operator import Operators
from shared.http import HttpServer
from shared.process import Process, execute
from shared.settings import Settings


async def run(settings: Settings) -> int:
    """The deployable ``query``."""
    stores = open_stores(settings)
    operators = Operators(settings.operator_key, settings.rabbitmq_url)
    app = create_app(stores, operators, longest_wait_s=settings.longest_wait_s)
    server = HttpServer(app, settings.host, settings.query_port, at_once=AT_ONCE)
    news = News(settings.rabbitmq_url, stores)
    process = Process("query", runtime_dir=settings.runtime_dir, address=server.address)

    async def end_what_waits() -> None:
        await process.stopping.wait()
        stores.end_waiting()

    return await process.run(
        {"server": lambda: server.run(process.stopping), "waiting": end_what_waits},
        background={"news": news.run, "watch": stores.watch},
        probes={"server": lambda: server.trouble},
    )


AT_ONCE = 20_000
"""Requests that wait for a write, or for what happens next, are at hand all the while."""

if __name__ == "__main__":
    execute("query", run)

"""``python -m query_service``: one process, one event loop; it starts, and says so, also while its stores are away."""

from query_service.app import create_app, open_stores
from query_service.operator import Operators
from shared.http import HttpServer
from shared.process import Process, execute
from shared.settings import Settings


async def run(settings: Settings) -> int:
    """The deployable ``query``."""
    operators = Operators(settings.operator_key, settings.rabbitmq_url)
    server = HttpServer(create_app(open_stores(settings), operators), settings.host, settings.query_port)
    process = Process("query", runtime_dir=settings.runtime_dir, address=server.address)
    return await process.run(
        {"server": lambda: server.run(process.stopping)}, background={}, probes={"server": lambda: server.trouble}
    )


if __name__ == "__main__":
    execute("query", run)

"""``python -m query_service``: one process, one event loop. It starts and reports so even while its stores are unavailable."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final

from query_service.app import create_app, open_stores
from query_service.consistency.freshness_monitor import FreshnessMonitor
from query_service.http.console_files import ConsoleFiles
from query_service.http.operators import Operators
from query_service.live.change_listener import ChangeListener
from query_service.live.listener_limits import Listeners
from query_service.sign_in import Client, SignIn
from shared.http.identities.credentials import Authentication
from shared.http.rate_limits import rate_limits
from shared.http.screening.configuration import screening
from shared.http.server import HttpServer, max_connections
from shared.messaging.broker import Publisher
from shared.messaging.denials import Denials
from shared.messaging.reports import Reports, started
from shared.observability import metrics
from shared.runtime import priority
from shared.runtime.health import Probe
from shared.runtime.process import CannotStartError, Process, execute
from shared.runtime.settings import Settings
from shared.views.progress import FreshnessStatus

log: Final = logging.getLogger(__name__)

DRAIN_S: Final = 1.0


async def run(settings: Settings) -> int:
    """The deployable ``query``."""
    priority.lower(settings.query_nice)
    stores = open_stores(settings)
    operators = Operators(settings.rabbitmq_url)
    authentication = Authentication(settings)
    publisher = Publisher(settings.rabbitmq_url, "query denials")
    denials = Denials("query_service", publisher)
    reports = Reports(publisher, *([started("query", settings.build)] if settings.rabbitmq_url else []))
    # A quarter of the connections stays free for ordinary requests.
    listeners = Listeners(min(settings.listeners, max_connections() * 3 // 4), settings.listeners_per_client)
    app = create_app(
        stores,
        operators,
        longest_wait_s=settings.longest_wait_s,
        currency=settings.currency,
        listeners=listeners,
        authenticator=authentication.authenticator,
        limits=rate_limits(settings),
        report_denial=denials.note if settings.rabbitmq_url else None,
        console=_console(settings),
        sign_in=_sign_in(settings, authentication),
    )
    server = HttpServer(app, settings.host, settings.query_port, screening=screening(settings), websockets=True)
    listener = ChangeListener(settings.rabbitmq_url, stores)
    probes: dict[str, Probe] = {
        "server": lambda: server.trouble,
        "news": lambda: listener.trouble,
        "processes": stores.processes.trouble,
        **authentication.probes,
        **{name: partial(_trouble_of, monitor) for name, monitor in stores.monitors.items()},
    }
    process = Process("query", runtime_dir=settings.runtime_dir, address=server.address)

    def sample() -> None:
        metrics.READERS.set(stores.broadcast.readers)
        show_freshness(stores.monitors)

    process.samplers.append(sample)
    drained = asyncio.Event()

    async def drain() -> None:
        """End waiting requests and event streams before the server stops, within DRAIN_S."""
        await process.stopping.wait()
        try:
            async with asyncio.timeout(DRAIN_S):
                await stores.end_waiting()
        except TimeoutError:
            log.warning("%d event streams were still open after %.0f s", stores.broadcast.readers, DRAIN_S)
        finally:
            drained.set()

    try:
        return await process.run(
            {
                "server": lambda: server.run(drained),
                "draining": drain,
                "denials": lambda: denials.run(process.stopping),
            },
            background={
                "news": listener.run,
                "watch": stores.watch,
                "reports": reports.run,
                **authentication.background,
            },
            probes=probes,
            starts_without=probes.keys() - {"server"},
        )
    finally:
        await publisher.close()
        await authentication.close()


def _console(settings: Settings) -> ConsoleFiles | None:
    """The console, unless it is turned off. Raises CannotStartError with the name of the setting that is malformed."""
    if not settings.console:
        return None
    try:
        return ConsoleFiles(commands=settings.console_commands, sign_in=bool(settings.oidc_client_id))
    except ValueError as error:
        raise CannotStartError(f"TIDEMARK_CONSOLE_COMMANDS: {error}") from error


def _sign_in(settings: Settings, authentication: Authentication) -> SignIn | None:
    """Raises CannotStartError: the provider's tokens would not be accepted."""
    if not settings.oidc_client_id:
        return None
    if authentication.tokens is None:
        raise CannotStartError("TIDEMARK_OIDC_CLIENT_ID needs TIDEMARK_AUTH=on and TIDEMARK_JWT_ISSUER, too")
    client = Client(settings.oidc_client_id, settings.oidc_client_secret, settings.oidc_scope)
    return SignIn(client, settings.jwt_issuer, authentication.tokens)


def show_freshness(monitors: Mapping[str, FreshnessMonitor]) -> None:
    latest = {name: monitor.latest for name, monitor in monitors.items()}
    for name, found in latest.items():
        metrics.CURRENT.set(found is not None and found.status is FreshnessStatus.CURRENT, name)
    ages = {(name,): found.lag_seconds for name, found in latest.items() if found is not None}
    metrics.AGE.replace({name: age for name, age in ages.items() if age is not None})


def _trouble_of(monitor: FreshnessMonitor) -> str | None:
    return monitor.trouble


if __name__ == "__main__":
    execute("query", run)

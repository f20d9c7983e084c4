"""``python -m deploy.gateway``: runs HAProxy with ``haproxy.cfg`` until it is stopped.

SIGHUP reloads it: the listening sockets go to a new worker, and connections that are open stay with the old one. SIGTERM lets requests
finish for DRAIN_S. It ends with an error as soon as HAProxy ends by itself.
"""

import asyncio
import contextlib
import os
import pwd
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy.gateway.environment import PREFIX, addresses, of_gateway
from deploy.run.child import terminate_with_parent
from deploy.servers import programs
from deploy.servers.errors import ServersError
from shared.http.server import require_free_port
from shared.runtime.process import CannotStartError, require_loopback
from shared.runtime.settings import Settings

NAME: Final = "gateway"
CONFIGURATION: Final = Path(__file__).with_name("haproxy.cfg")
USERS: Final = ("haproxy", "nobody")
START_S: Final = 20.0
DRAIN_S: Final = 2.0
STOP_S: Final = 5.0


async def run(settings: Settings) -> int:
    """0 after SIGTERM or SIGINT, otherwise 1.

    Raises ServersError; CannotStartError, also where authentication is off and other machines could reach it.
    """
    host, port = _listening(settings)
    if settings.auth == "off":
        require_loopback(host, "TIDEMARK_HOST")
    require_free_port(host, port)
    with TemporaryDirectory(prefix="tidemark-gateway-") as folder:
        socket = Path(folder) / "haproxy.sock"
        user = _unprivileged_user()
        own = {f"{PREFIX}SOCKET": str(socket)} | ({f"{PREFIX}USER": user} if user else {})
        process = await asyncio.create_subprocess_exec(
            *(str(programs.haproxy()), "-W", "-db", "-f", str(CONFIGURATION)),
            env=programs.environment() | addresses(settings) | own | of_gateway(),
            stdin=asyncio.subprocess.DEVNULL,
            preexec_fn=terminate_with_parent(os.getpid()),
        )
        return await _supervise(process, socket)


def _listening(settings: Settings) -> tuple[str, int]:
    host, _, port = of_gateway().get(f"{PREFIX}BIND", f"{settings.host}:{settings.gateway_port}").rpartition(":")
    return host.strip("[]*") or "0.0.0.0", int(port)  # noqa: S104 - a bind address without a host means all


async def _supervise(process: asyncio.subprocess.Process, socket: Path) -> int:
    stopping, exited = asyncio.Event(), asyncio.ensure_future(process.wait())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: process.send_signal(signal.SIGUSR2))
    stop = asyncio.ensure_future(stopping.wait())
    try:
        ready = asyncio.ensure_future(_until_ready(socket))
        await asyncio.wait({ready, exited, stop}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not ready.exception():
            print(f"tidemark ready: {NAME}", flush=True)
            await asyncio.wait({exited, stop}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        return 1 if exited.done() or not stopping.is_set() else 0
    finally:
        stop.cancel()
        await _end(process, exited)


async def _until_ready(socket: Path) -> None:
    """Return when it takes requests; raises TimeoutError."""
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(socket)
                writer.write(b"show info\n")
                answer = await reader.read()
                writer.close()
                if b"Uptime_sec" in answer:
                    return
            await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process, exited: "asyncio.Future[int]") -> None:
    for number, seconds in ((signal.SIGUSR1, DRAIN_S), (signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
        if exited.done():
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        await asyncio.wait({exited}, timeout=seconds)


def _unprivileged_user() -> str | None:
    """The user to become; None for the current one. Never the one of a store, whose data it could read then."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ServersError(f"HAProxy is not run as root, and there is no user {' or '.join(USERS)}")


def main() -> None:
    try:
        sys.exit(asyncio.run(run(Settings())))
    except (CannotStartError, ServersError, ValueError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

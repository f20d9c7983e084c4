"""``python -m deploy.observability.private FOLDER PORT``: Prometheus with Tidemark's rules, until it is stopped.

It scrapes TIDEMARK_METRICS_TARGETS, keeps its data below FOLDER for two days, and listens on the loopback address alone. It ends with an
error as soon as Prometheus ends by itself.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Final

import httpx

from deploy.observability.generate import FOLDER
from deploy.observability.private.configuration import configuration
from deploy.run.child import terminate_with_parent
from deploy.servers import programs
from deploy.servers.errors import ServersError
from shared.observability import targets
from shared.observability.targets import Target

NAME: Final = "prometheus"
HOST: Final = "127.0.0.1"
KEPT: Final = "2d"
START_S: Final = 40.0
STOP_S: Final = 8.0


def arguments(folder: Path, port: int, scraped: list[Target]) -> tuple[str, ...]:
    """Write the configuration below the folder; return the command line."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prometheus.yml"
    path.write_text(configuration(scraped, str(FOLDER / "prometheus" / "rules.yml")))
    return (
        str(programs.prometheus()),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--enable-feature=exemplar-storage",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    )


async def run(folder: Path, port: int, scraped: list[Target]) -> int:
    """0 after SIGTERM or SIGINT, otherwise 1. Raises ServersError."""
    process = await asyncio.create_subprocess_exec(
        *arguments(folder, port, scraped),
        env=programs.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        preexec_fn=terminate_with_parent(os.getpid()),
    )
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    exited, stop = asyncio.ensure_future(process.wait()), asyncio.ensure_future(stopping.wait())
    ready = asyncio.ensure_future(_until_ready(f"http://{HOST}:{port}/-/ready"))
    try:
        await asyncio.wait({ready, exited, stop}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not ready.exception():
            print(f"tidemark ready: {NAME} http://{HOST}:{port}", flush=True)
            await asyncio.wait({exited, stop}, return_when=asyncio.FIRST_COMPLETED)
        return 0 if stopping.is_set() else 1
    finally:
        ready.cancel()
        stop.cancel()
        for how in (process.terminate, process.kill):
            if not exited.done():
                with contextlib.suppress(ProcessLookupError):
                    how()
                await asyncio.wait({exited}, timeout=STOP_S)


async def _until_ready(url: str) -> None:
    """Raises TimeoutError."""
    async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.1)


def main(given: list[str]) -> None:
    folder, port = given
    try:
        scraped = targets.parse(os.environ.get("TIDEMARK_METRICS_TARGETS", ""))
        sys.exit(asyncio.run(run(Path(folder), int(port), scraped)))
    except (ServersError, ValueError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])

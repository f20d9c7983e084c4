"""The whole system, running: every deployable as a process, on servers of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from deploy.demo.system import settings_for
from deploy.run.deployables import DEPLOYABLES, programs
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from deploy.servers.provide import CHOICE, PROCESSES, REQUIRED, STORE_SETTINGS, Servers, provide
from shared.observability.targets import Target, unparse
from shared.views import operations
from tests.e2e.bus import Bus, bus_of

VISIBLE_WITHIN_S = 15.0
NO_SETTINGS: Final[Mapping[str, str]] = {}

LETTER = """
SELECT letters.*, payloads.body FROM letters JOIN payloads ON payloads.letter_id = letters.id
WHERE origin = $1 AND ($2::bytea IS NULL OR position($2 IN payloads.body) > 0) AND ($3::text IS NULL OR stream = $3)
    AND ($4::bytea IS NULL OR payloads.body = $4)
ORDER BY letters.id
"""


@dataclass(frozen=True)
class System:
    servers: Servers
    supervisor: Supervisor
    bus: Bus
    queries: httpx.AsyncClient
    commands: httpx.AsyncClient
    targets: str = ""
    """Where its processes serve their metrics, as the setting says it."""
    log: Path = Path()
    """What the deployables say."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the deployables were given besides the environment."""

    async def get(self, path: str, **parameters: Any) -> Any:
        """The query service's answer as JSON; anything but 200 fails."""
        response = await self.queries.get(path, params=parameters)
        assert response.status_code == 200, response.text
        return response.json()

    async def letter(
        self, origin: str, *, body: bytes | None = None, part: bytes | None = None, stream: str | None = None
    ) -> asyncpg.Record:
        """The dead letter with this body, with this in its body, or about this stream, as soon as it is there."""
        connection = await asyncpg.connect(
            self.servers.operations_db_url, server_settings={"search_path": operations.SCHEMA}
        )
        try:
            async with asyncio.timeout(VISIBLE_WITHIN_S):
                while True:
                    found = await connection.fetch(LETTER, origin, part, stream, body)
                    if found:
                        [letter] = found
                        return letter
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"there is no dead letter from {origin} about {body or part or stream!r}"[:300])
        finally:
            await connection.close()

    async def visible(self, path: str, holds: Callable[[Any], Any] = bool, **parameters: Any) -> Any:
        """The query service's answer as soon as it ``holds``; it has some seconds to become so."""
        answer: Any = None
        try:
            async with asyncio.timeout(VISIBLE_WITHIN_S):
                while True:
                    response = await self.queries.get(path, params=parameters)
                    answer = response.json()
                    if response.status_code == 200 and holds(answer):
                        return answer
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"{path} did not come to what it should be; it is {answer}")


@contextmanager
def own_servers() -> Iterator[Servers]:
    """Servers that nobody else uses: other tests look into queues and tables, and empty them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*REQUIRED, PROCESSES, *STORE_SETTINGS):
            patch.delenv(f"TIDEMARK_{name.upper()}", raising=False)
        if os.environ.get(CHOICE) == "environment":
            patch.delenv(CHOICE)
        with provide() as servers:
            yield servers


def ports() -> dict[str, str]:
    targets = unparse(Target(name, "127.0.0.1", free_port()) for name in DEPLOYABLES)
    return {
        "TIDEMARK_QUERY_PORT": str(free_port()),
        "TIDEMARK_COMMAND_PORT": str(free_port()),
        "TIDEMARK_METRICS_TARGETS": targets,
    }


@asynccontextmanager
async def running_system(
    servers: Servers, log: Path, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[System]:
    """Migrated and started; stopped at the end. What the deployables say goes to ``log``. ``settings``: further variables for them."""
    await migrate(settings_for(servers))
    chosen = {**ports(), **settings}
    with log.open("w") as output:
        async with Supervisor(output) as supervisor, bus_of(servers.rabbitmq_url) as bus:
            await supervisor.start(programs(servers, os.environ | chosen))
            async with (
                httpx.AsyncClient(base_url=address(chosen, "QUERY"), trust_env=False, timeout=30) as queries,
                httpx.AsyncClient(base_url=address(chosen, "COMMAND"), trust_env=False, timeout=40) as commands,
            ):
                targets = chosen["TIDEMARK_METRICS_TARGETS"]
                yield System(servers, supervisor, bus, queries, commands, targets, log, chosen)


def address(chosen: dict[str, str], which: str) -> str:
    return f"http://127.0.0.1:{chosen[f'TIDEMARK_{which}_PORT']}"

"""The gateway in front of a system with authentication on, and clients behind it."""

import asyncio
import csv
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import psutil

from deploy.gateway.__main__ import NAME
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from tests.e2e.authenticated.secured import Secured, subject
from tests.front_door import HOST, Gateway, certificates, running_gateway
from tests.integration.serving.test_leaving import UPGRADE

BACK_WITHIN_S: Final = 60.0


@dataclass(frozen=True)
class Door:
    """The gateway, before two query services and a command service: those of the system, and one more."""

    gateway: Gateway
    second_query: Supervisor
    key: dict[str, str]
    system: Secured

    @property
    def services(self) -> Supervisor:
        return self.system.supervisor

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.gateway.client.get(path, headers=self.key | headers)

    async def send(self, type_: str, data: dict[str, Any], **headers: str) -> httpx.Response:
        wanted = {"Prefer": "wait=20", **headers}
        return await self.gateway.client.post(f"/commands/{type_}", json=data, headers=self.key | wanted)

    async def register(self, **headers: str) -> tuple[str, httpx.Response]:
        """A new customer's id, and the answer."""
        customer = f"door-{uuid4().hex}"
        return customer, await self.send(
            "customers.register-customer", {"customer_id": customer, "name": "Ann"}, **headers
        )

    async def listen(
        self, query: str, *, web_socket: bool = False, key: Mapping[str, str] | None = None
    ) -> asyncio.StreamReader:
        """An event stream whose head has been read; the caller closes nothing: it ends with the gateway. ``key``: another identity's."""
        path = f"/events{'/ws' if web_socket else ''}{query}"
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: {(key or self.key)['Authorization']}"]
        reader, _ = await self.gateway.connect("\r\n".join([*lines, *([UPGRADE] if web_socket else []), "", ""]))
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 " if web_socket else b"HTTP/1.1 200 "), head
        return reader

    async def until_instances(self, *, queries: int) -> None:
        """Return when the gateway finds so many query services healthy."""
        async with asyncio.timeout(BACK_WITHIN_S):
            while await self._healthy("queries") < queries:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)

    async def _healthy(self, backend: str) -> int:
        reader, writer = await asyncio.open_unix_connection(self._master().environ()["TIDEMARK_GATEWAY_SOCKET"])
        writer.write(b"show stat\n")
        rows = csv.DictReader((await reader.read()).decode().removeprefix("# ").splitlines())
        writer.close()
        servers = [row for row in rows if row["pxname"] == backend and row["svname"] != "BACKEND"]
        return sum(row["status"] == "UP" for row in servers)

    def workers(self) -> set[int]:
        """HAProxy's processes that serve: those from before a reload too, while they have connections."""
        return {child.pid for child in self._master().children()}

    def _master(self) -> psutil.Process:
        """The only child of its launcher."""
        [master] = psutil.Process(self.gateway.supervisor.pid(NAME)).children()
        return master

    async def reload(self) -> int:
        """Return the new process when it is there."""
        before = self.workers()
        self.gateway.reload()
        async with asyncio.timeout(BACK_WITHIN_S):
            while not (new := self.workers() - before):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        [worker] = new
        return worker


@asynccontextmanager
async def opened_door(secured: Secured, folder: Path, *, tls: bool = True) -> AsyncIterator[Door]:
    port = free_port()
    async with AsyncExitStack() as stack:
        output = stack.enter_context((folder / "services.log").open("w"))
        second_query = await stack.enter_async_context(Supervisor(output))
        await second_query.start([secured.own("query", TIDEMARK_QUERY_PORT=str(port))])
        gateway = await stack.enter_async_context(
            running_gateway(
                folder / "gateway.log",
                queries=secured.queries.base_url.netloc.decode(),
                commands=secured.commands.base_url.netloc.decode(),
                tls=certificates(folder) if tls else None,
                queries_2=f"127.0.0.1:{port}",
                requests_per_key=1_000_000,
                requests_per_address=1_000_000,
            )
        )
        await serving(gateway)
        yield Door(gateway, second_query, await secured.headers(subject("door"), "commands:*", "queries:*"), secured)


async def serving(gateway: Gateway) -> None:
    async with asyncio.timeout(BACK_WITHIN_S):
        while (await gateway.client.get("/health/serving")).status_code != 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)

"""The real HAProxy with our configuration, certificates of a private authority, and connections to it, for tests."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.gateway.__main__ import NAME
from deploy.gateway.program import program
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port

HOST = "shop.example.org"


@dataclass(frozen=True)
class Certificates:
    """A private authority's certificate, and a server's with its key."""

    authority: Path
    server: Path


def certificates(folder: Path) -> Certificates:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-subj", "/CN=Private authority", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key, "-subj", f"/CN={HOST}", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text(f"subjectAltName=DNS:{HOST},DNS:localhost,IP:127.0.0.1\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    both = folder / "server.pem"
    both.write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())
    return Certificates(folder / "ca.pem", both)


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    supervisor: Supervisor
    port: int
    client: httpx.AsyncClient
    trusted: ssl.SSLContext | None
    log: Path
    connections: list[asyncio.StreamWriter]
    """All that ``connect`` has made: closed in the end."""

    @property
    def url(self) -> str:
        return str(self.client.base_url)

    def reload(self) -> None:
        """Ask for a reload, which has happened when ``workers`` has another process."""
        os.kill(self.supervisor.pid(NAME), 1)

    async def connect(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own, on which this has been sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trusted)
        self.connections.append(writer)
        writer.write(text.encode())
        return reader, writer

    async def answer(self, text: str, *, within_s: float = 30) -> bytes:
        """What comes until the connection is closed."""
        reader, writer = await self.connect(text)
        try:
            async with asyncio.timeout(within_s):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def running_gateway(
    log: Path, *, queries: str, commands: str, tls: Certificates | None = None, **settings: object
) -> AsyncIterator[Gateway]:
    """A gateway before services on these addresses. ``settings``: further ``TIDEMARK_GATEWAY_`` variables, without that prefix."""
    port = free_port()
    given = {f"TIDEMARK_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
    given |= {"TIDEMARK_GATEWAY_QUERIES": queries, "TIDEMARK_GATEWAY_COMMANDS": commands}
    given |= {"TIDEMARK_GATEWAY_PORT": str(port)}
    if tls:
        given["TIDEMARK_GATEWAY_CERTIFICATE"] = str(tls.server)
    trusted = ssl.create_default_context(cafile=tls.authority) if tls else None
    base = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    with log.open("w") as output:
        async with Supervisor(output) as supervisor:
            await supervisor.start([program(os.environ | given)])
            async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=40, verify=trusted or True) as client:
                connections: list[asyncio.StreamWriter] = []
                try:
                    yield Gateway(supervisor, port, client, trusted, log, connections)
                finally:
                    for writer in connections:
                        writer.transport.abort()

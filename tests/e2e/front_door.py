"""The gateway beside a running system: the real HAProxy, with certificates of a private authority, and clients that misbehave."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.gateway import program as gateway_program
from deploy.run.child import Program
from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from tests.e2e.system import System

NAME = "shop.example.org"


@dataclass(frozen=True)
class Certificates:
    """A private authority, and a server's certificate with its key."""

    authority: Path
    server: Path


def certificates(folder: Path) -> Certificates:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *ec, "-subj", "/CN=Private authority", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *ec, "-subj", f"/CN={NAME}", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text(f"subjectAltName=DNS:{NAME},DNS:localhost,IP:127.0.0.1\n")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signing, "-out", "server.crt")
    both = folder / "server.pem"
    both.write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())
    return Certificates(folder / "ca.pem", both)


@dataclass(frozen=True)
class Gateway:
    """A running gateway; ``supervisor`` has it, and what is behind it."""

    supervisor: Supervisor
    port: int
    client: httpx.AsyncClient
    trusted: ssl.SSLContext | None

    async def connect(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of its own, on which this has been sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trusted)
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
async def gateway_of(
    system: System, log: Path, *, tls: Certificates | None = None, **settings: object
) -> AsyncIterator[Gateway]:
    """A gateway before services of its own, on the servers of the system: two query services and a command service.

    They are children ``queries``, ``queries_2``, ``commands`` and ``gateway``. ``settings``: further TIDEMARK_ variables.
    """
    ports = {name: str(free_port()) for name in ("queries", "queries_2", "commands", "gateway")}
    given = {f"TIDEMARK_{name.upper()}": str(value) for name, value in settings.items()}
    environ = {**os.environ, "TIDEMARK_TRUSTED_PROXIES": "127.0.0.1", "TIDEMARK_ALLOWED_HOSTS": NAME, **given}
    environ |= {"TIDEMARK_QUERY_PORT": ports["queries"], "TIDEMARK_COMMAND_PORT": ports["commands"]}
    environ |= {"TIDEMARK_GATEWAY_PORT": ports["gateway"]}
    environ |= {"TIDEMARK_GATEWAY_QUERIES_2": f"127.0.0.1:{ports['queries_2']}"}
    if tls:
        environ["TIDEMARK_GATEWAY_CERTIFICATE"] = str(tls.server)
    trusted = ssl.create_default_context(cafile=tls.authority) if tls else None
    second = environ | {"TIDEMARK_QUERY_PORT": ports["queries_2"]}
    children = [
        named("queries", program("query", system.servers, environ)),
        named("queries_2", program("query", system.servers, second)),
        named("commands", program("http", system.servers, environ)),
        gateway_program.program(environ),
    ]
    with log.open("w") as output:
        async with Supervisor(output) as supervisor:
            await supervisor.start(children)
            base = f"{'https' if tls else 'http'}://127.0.0.1:{ports['gateway']}"
            async with httpx.AsyncClient(
                base_url=base, trust_env=False, timeout=40, verify=trusted or True, http2=False
            ) as client:
                yield Gateway(supervisor, int(ports["gateway"]), client, trusted)


def named(name: str, one: Program) -> Program:
    """The same program under another name: the line that says it is ready names what it is."""
    return Program(name, one.argv, one.env)

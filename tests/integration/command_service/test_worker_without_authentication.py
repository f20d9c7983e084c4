"""Without authentication the worker takes commands from a broker of this machine alone."""

import asyncio
import os
import sys

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_it_refuses_a_broker_that_other_machines_reach(host: str) -> None:
    chosen = {
        "TIDEMARK_AUTH": "off",
        "TIDEMARK_RABBITMQ_URL": f"amqp://tidemark_worker:x@{host}:5672/",
        "TIDEMARK_WRITE_DB_URL": "postgresql://x:x@127.0.0.1:1/x",
        "TIDEMARK_KEYS_DB_URL": "postgresql://x:x@127.0.0.1:1/x",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "command_service", "worker"),
        env=os.environ | chosen,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, errors = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    [line] = errors.decode().splitlines()
    assert "TIDEMARK_RABBITMQ_URL" in line
    assert host in line

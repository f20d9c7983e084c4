"""How long others wait while thousands of slow bodies and idle listeners are there, beside how long they wait without them, as JSON.

Each service is asked at a steady pace, idle and with the slow clients in turn; they are a process of their own on the same machine.
A body gets a byte a second until it is refused, and another comes at once. ``ratio`` compares a percentile with the same one of the idle
time just before; of several rounds the median, for the machine may have other things to do.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, Final

import httpx
import psutil
import uvloop

from deploy.demo.system import settings_for
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.outcomes import percentile
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from tests.e2e.system import own_servers

DEADLINE_S: Final = 900.0
KEY: Final = "bench"
JSON: Final = "Content-Type: application/json"
BODIES: Final = {
    "http": f"POST /commands/customers.register-customer HTTP/1.1\r\n{JSON}",
    "query": f"POST /dead-letters/replay HTTP/1.1\r\n{JSON}\r\nTidemark-Actor: x\r\nAuthorization: Bearer {KEY}",
}
SHARES: Final = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


class Bench:
    def __init__(self, name: str, port: int, pid: int, client: httpx.AsyncClient) -> None:
        self._name = name
        self._port = port
        self._process = psutil.Process(pid)
        self._client = client
        self._asked = 0

    async def run(self, bodies: int, listeners: int, seconds: float, rate: int, rounds: int) -> dict[str, Any]:
        await self._paced(2.0, rate)  # pools are opened, code is warm
        found = [await self._round(bodies, listeners, seconds, rate) for _ in range(rounds)]
        return {
            "slow_bodies": bodies,
            "listeners": listeners,
            "requests_a_round": int(seconds * rate),
            "ratio": {name: median(each["ratio"][name] for each in found) for name, _ in SHARES},
            "rounds": found,
        }

    async def _round(self, bodies: int, listeners: int, seconds: float, rate: int) -> dict[str, Any]:
        idle, idle_cpu = await self._paced(seconds, rate)
        before = self._process.memory_info().rss
        async with self._slow(bodies, listeners) as answers:
            held, held_cpu = await self._paced(seconds, rate)
            after = self._process.memory_info().rss
        idle_ms, held_ms = _percentiles(idle), _percentiles(held)
        return {
            "idle_ms": idle_ms,
            "with_them_ms": held_ms,
            "ratio": {name: round(held_ms[name] / idle_ms[name], 2) for name, _ in SHARES},
            "cpu_percent": {"idle": idle_cpu, "with_them": held_cpu},
            "memory_mib": {"idle": before // 2**20, "with_them": after // 2**20},
            "slow_answers": answers,
        }

    async def _paced(self, seconds: float, rate: int) -> tuple[list[float], float]:
        """The latencies of requests that go out at this rate, whether or not those before have been answered; and CPU."""
        ask = self._query if self._name == "query" else self._command
        began, cpu = time.perf_counter(), self._cpu()
        tasks = []
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(_timed(ask)))
        latencies = list(await asyncio.gather(*tasks))
        return latencies, round((self._cpu() - cpu) / (time.perf_counter() - began) * 100, 1)

    async def _query(self) -> None:
        assert (await self._client.get("/orders/none")).status_code == 404

    async def _command(self) -> None:
        self._asked += 1
        body = {"customer_id": f"c-{self._asked}", "name": "Ann"}
        assert (await self._client.post("/commands/customers.register-customer", json=body)).status_code == 202

    @asynccontextmanager
    async def _slow(self, bodies: int, listeners: int) -> AsyncIterator[dict[str, int]]:
        counts = ("--bodies", str(bodies), "--listeners", str(listeners), "--request", BODIES[self._name])
        clients = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.slow_clients", str(self._port), *counts),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert clients.stdin
        assert clients.stdout
        answers: dict[str, int] = {}
        try:
            assert await clients.stdout.readline() == b"held\n"
            yield answers
            clients.stdin.close()
            answers |= json.loads(await clients.stdout.readline())
        finally:
            clients.kill()
            await clients.wait()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


async def _timed(ask: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began


def _percentiles(latencies: list[float]) -> dict[str, float]:
    return {name: round((percentile(latencies, share) or 0.0) * 1000, 2) for name, share in SHARES}


@asynccontextmanager
async def running(servers: Servers, name: str) -> AsyncIterator[Bench]:
    port = free_port()
    own = {"TIDEMARK_QUERY_PORT": str(port), "TIDEMARK_COMMAND_PORT": str(port), "TIDEMARK_OPERATOR_KEY": KEY}
    async with Supervisor(output=None) as supervisor:
        await supervisor.start([program(name, servers, os.environ | own)])
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60, limits=limits
        ) as client:
            yield Bench(name, port, supervisor.pid(name), client)


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    found = {}
    with own_servers() as servers:
        await migrate(settings_for(servers))
        async with asyncio.timeout(DEADLINE_S):
            for name in ("query", "http"):
                async with running(servers, name) as bench:
                    listeners = arguments.listeners if name == "query" else 0
                    found[name] = await bench.run(
                        arguments.bodies, listeners, arguments.seconds, arguments.rate, arguments.rounds
                    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="slow_clients", description=__doc__.partition("\n")[0])
    parser.add_argument("--bodies", type=int, default=2000)
    parser.add_argument("--listeners", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=100)
    print(json.dumps(uvloop.run(measure(parser.parse_args())), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

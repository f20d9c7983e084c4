"""The write database is restored from a backup: nobody takes its versions for what they were before."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rich.console import Console

from deploy.cli.projections.control_requests import send_request
from deploy.compare.stores import open_store
from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.servers.accounts import databases
from deploy.servers.provide import CHOICE
from deploy.verify.command import verify
from deploy.verify.findings import Kind
from deploy.verify.options import Options
from shared.messages.control import Activate, Rebuild
from shared.messaging.topology import PROJECTORS
from shared.read_models import READ_MODELS
from shared.runtime.roles import OWNER
from shared.views.generations import Generation, GenerationsChanged
from tests.e2e.system import System, own_servers, running_system

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

WRITERS = ("worker", "relay", "http")
BACKUP = "backup"
SOON_S = 40.0
ORDERS = [model.name for model in READ_MODELS if "orders" in model.kinds]
OTHERS = [name for name in PROJECTORS if name not in ORDERS]
"""They read no order, so the second restore has lost nothing of theirs."""


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    monkeypatch.setenv("TIDEMARK_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv(CHOICE, "private")
    with own_servers() as servers:
        async with running_system(servers, tmp_path / "output.log") as system:
            yield system


async def backup(system: System) -> None:
    await _as_admin(system, f"CREATE DATABASE {BACKUP} TEMPLATE {databases.WRITE} OWNER {OWNER}")


async def restore(system: System) -> None:
    await _as_admin(
        system,
        f"DROP DATABASE {databases.WRITE} WITH (FORCE)",
        f"ALTER DATABASE {BACKUP} RENAME TO {databases.WRITE}",
    )


async def _as_admin(system: System, *statements: str) -> None:
    """While nothing writes, or relays."""
    assert system.servers.private is not None
    for name in WRITERS:
        await system.supervisor.kill(name)
    connection = await asyncpg.connect(system.servers.private.postgres.admin_url())
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", databases.WRITE
    )
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
    for name in WRITERS:
        await system.supervisor.restart(name)


async def place(system: System, order_id: str) -> str:
    """The token of the write."""
    line = {"product_id": "p-1", "quantity": 1, "amount": 10}
    new = {"order_id": order_id, "customer_id": "c-1", "currency": "EUR", "lines": [line]}
    return token(await system.bus.accepted("orders.place-order", new))


async def pay(system: System, order_id: str) -> str:
    return token(await system.bus.accepted("orders.pay-order", {"amount": 10}, subject=order_id))


def token(outcome: dict[str, Any]) -> str:
    return f"{outcome['stream']}@{outcome['version']};epoch={outcome['epoch']}"


async def read(system: System, path: str, write: str, wait: int = 20) -> tuple[int, Any]:
    headers = {"Tidemark-Consistency": write, "Prefer": f"wait={wait}"}
    answer = await system.queries.get(path, headers=headers)
    return answer.status_code, answer.json()


async def active(system: System, projection: str) -> Generation:
    async with open_store(settings_for(system.servers), projection) as store:
        return next(one for one in await store.generations() if one.active)


async def stopped(system: System, folder: Path, projection: str) -> dict[str, str]:
    """The troubles that its process reports, once it has found all that is ahead."""
    async with asyncio.timeout(SOON_S):
        while True:
            health = json.loads((folder / f"{projection}.json").read_text())
            if "are ahead of it" in health["troubles"].get("epoch", ""):
                at = await active(system, projection)
                if at.compared:
                    return dict(health["troubles"])
            await asyncio.sleep(0.2)


def waits_for_an_operator(freshness: dict[str, Any]) -> bool:
    stopped = freshness["stopped"]
    return stopped is not None and (stopped["waits_for"], stopped["ahead"]) == ("operator", 2)


async def has_left(system: System, projection: str, epoch: str) -> bool:
    return epoch in (await active(system, projection)).former


async def is_well(folder: Path, projection: str) -> bool:
    return bool(json.loads((folder / f"{projection}.json").read_text())["ready"])


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON_S):
        while not await holds():  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.2)


async def rebuild(system: System, projection: str) -> None:
    settings = settings_for(system.servers)
    begun = Rebuild(projection=projection, generation=2, actor="a test", reason="restored")
    assert isinstance(await send_request(settings, begun, request_id=None, seconds=20), GenerationsChanged)
    async with open_store(settings, projection) as store:

        async def ready() -> bool:
            return any(one.number == 2 and one.state == "ready" for one in await store.generations())

        await until(ready)
    switch = Activate(projection=projection, generation=2, actor="a test", reason="restored")
    assert isinstance(await send_request(settings, switch, request_id=None, seconds=20), GenerationsChanged)


async def test_a_restore_that_lost_nothing_is_adopted_and_one_that_did_stops_each_projection_that_has_what_is_lost(
    system: System, tmp_path: Path
) -> None:
    for number in range(6):
        write = await place(system, f"kept-{number}")
        assert (await read(system, f"/orders/kept-{number}", write))[0] == 200
    first = write.partition("epoch=")[2]
    await backup(system)
    await restore(system)
    write = await place(system, "after-a-harmless-restore")
    second = write.partition("epoch=")[2]
    assert second != first
    await system.visible("/orders/after-a-harmless-restore")
    for projection in PROJECTORS:
        await until(partial(has_left, system, projection, first))
    assert (await read(system, "/orders/after-a-harmless-restore", write))[0] == 200

    await backup(system)
    lost = await place(system, "lost")
    old = await pay(system, "kept-0")
    assert (await read(system, "/orders/lost", lost))[0] == 200
    assert (await read(system, "/orders/kept-0", old))[0] == 200
    for path in ("/search/orders?q=lost", "/analytics/revenue"):
        assert (await read(system, path, old))[0] == 200
    await restore(system)
    await system.bus.accepted("orders.cancel-order", {"reason": "again at version 2"}, subject="kept-0")
    new = await place(system, "new")
    for projection in OTHERS:
        await until(partial(has_left, system, projection, second))
    for projection in ORDERS:
        troubles = await stopped(system, tmp_path, projection)
        assert "2 streams" in troubles["epoch"]
        assert "orders/kept-0 at 2, not 1" in troubles["epoch"]
        assert "orders/lost at 1, not 0" in troubles["epoch"]
    await system.visible(
        "/freshness",
        lambda found: all(waits_for_an_operator(one) == (one["projection"] in ORDERS) for one in found["projections"]),
    )
    assert (await system.queries.get("/orders/new")).status_code == 404
    status, problem = await read(system, "/orders/new", new)
    assert (status, problem["code"]) == (412, "epoch-changed")
    options, display = Options(stalled_s=2), Display(Console(quiet=True), None)
    report = await verify(settings_for(system.servers), options, display)
    assert report.counts["summary", Kind.STRAY] == 1
    assert ("summary", Kind.MISSING) in report.counts

    for projection in ORDERS:
        await rebuild(system, projection)
    assert (await read(system, "/orders/new", new))[0] == 200
    status, problem = await read(system, "/orders/kept-0", old, wait=5)
    assert (status, problem["code"]) == (412, "epoch-changed")
    assert (await system.get("/orders/kept-0"))["status"] == "cancelled"
    report = await verify(settings_for(system.servers), options, display)
    assert report.equal, report.findings
    for projection in PROJECTORS:
        await until(partial(is_well, tmp_path, projection))

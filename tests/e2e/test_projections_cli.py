"""``tidemark projections`` against the running system: a read model is rebuilt, compared, switched, switched back, dropped."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from deploy.cli.main import app
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)


async def tidemark(system: System, *arguments: str) -> Any:
    """The command's JSON; it must succeed."""
    command = ["projections", *arguments, "--output", "json"]
    result = await asyncio.to_thread(CliRunner().invoke, app, command, env=system.servers.environ())
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return json.loads(result.stdout)


async def active(system: System) -> list[int]:
    items = (await tidemark(system, "status", "search"))["items"]
    return [item["generation"]["number"] for item in items if item["generation"]["active"]]


async def audited(system: System, acts: list[str], built: int) -> None:
    """Each act once, the latest first, for whoever asks from the terminal and over HTTP."""
    where = "/dead-letters/audit"
    await system.visible(where, lambda found: len(found["items"]) >= len(acts), projection="search")
    everything = (await tidemark(system, "audit", "search"))["items"]
    items = [
        item for item in everything if item["act"] != "deployed"
    ]  # a process that was restarted may stand there, too
    assert [item["act"] for item in items] == acts
    assert [item["details"]["generation"] for item in items] == [built, 1, built, built]
    assert (items[1]["reason"], items[-1]["actor"], items[-1]["reason"]) == ("it was a mistake", "ann", "to see it")
    assert (await system.get(where, projection="search"))["items"] == everything
    assert {item["projection"] for item in (await tidemark(system, "audit", "summary"))["items"]} <= {"summary"}
    assert (await system.get(where, act="rollback"))["items"] == items[1:2]


async def test_an_operator_rebuilds_compares_switches_and_goes_back(system: System) -> None:
    order = f"o-{uuid4().hex}"
    line = {"product_id": "p-cli", "quantity": 1, "amount": 10}
    await system.bus.accepted(
        "orders.place-order", {"order_id": order, "customer_id": "c-cli", "currency": "EUR", "lines": [line]}
    )

    async def found() -> Any:
        return await system.visible("/search/orders", lambda answer: answer["total"], q=order)

    await found()
    built = await tidemark(system, "rebuild", "search", "--actor", "ann", "--reason", "to see it")
    assert (built["projection"], built["state"], built["active"]) == ("search", "ready", False)
    assert built["scanned"] >= built["total"] > 0
    number = str(built["number"])
    compared = await tidemark(system, "compare", "search")
    assert (compared["equal"], compared["generations"]) == (True, [built["number"], 1])
    assert all(part["rows"][0] == part["rows"][1] for part in compared["parts"])
    await tidemark(system, "activate", "search", number, "--yes")
    assert await active(system) == [built["number"]]
    assert (await found())["items"][0]["order_id"] == order
    await system.supervisor.kill("dead_letters")
    await tidemark(system, "rollback", "search", "--reason", "it was a mistake")
    assert await active(system) == [1]
    assert (await found())["items"][0]["order_id"] == order
    await tidemark(system, "drop", "search", number, "--yes")
    await system.supervisor.restart("dead_letters")
    await audited(system, ["drop", "rollback", "activate", "rebuild"], built["number"])
    assert [one["generation"]["number"] for one in (await tidemark(system, "status", "search"))["items"]] == [1]

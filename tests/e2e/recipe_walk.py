"""``python -m tests.e2e.recipe_walk LOG``: what README's recipes make, at work; run in a copy of the tree that has it.

The context ``tickets`` is decided, its read model ``board`` is queried, fails on a poisoned stream, is replayed, rebuilt, compared,
activated, and verified, all by the code that the other read models have.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from deploy.cli.projections.commands import compare_generations
from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.run.deployables import program
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.messages.control import Activate, Rebuild, Replay, Selection
from shared.messaging.operators.operations_client import request, send_request
from shared.views.operations import Done
from tests.e2e.generations import done, until_ready
from tests.e2e.system import System, own_servers, running_system

POISONED: Final = "t-2"


async def walk(system: System) -> None:
    await command_and_query(system)
    await dead_letter_and_replay(system)
    await rebuild_compare_activate(system)
    report = await verify(
        settings_for(system.servers),
        Options(recheck_interval_s=0.5),
        Display(Console(quiet=True), None),
        projections=["board"],
    )
    assert report.equal, report.as_json()
    assert report.tally.compared == 2, report.as_json()


async def command_and_query(system: System) -> None:
    opened = await system.bus.accepted("tickets.open-ticket", {"ticket_id": "t-1", "title": "No light"})
    await read(system, "t-1", opened["version"], status="open", title="No light")
    closed = await system.bus.accepted("tickets.close-ticket", {}, subject="t-1")
    await read(system, "t-1", closed["version"], status="closed")
    again = await system.bus.command("tickets.close-ticket", {}, subject="t-1")
    assert again["code"] == "ticket-not-open", again
    freshness = await system.get("/freshness")
    assert "board" in [one["projection"] for one in freshness["projections"]], freshness


async def dead_letter_and_replay(system: System) -> None:
    failing = {"TIDEMARK_POISON": f"board:tickets/{POISONED}", "TIDEMARK_BOARD_RETRIES": "0"}
    await deploy(system, failing)
    await system.bus.accepted("tickets.open-ticket", {"ticket_id": POISONED, "title": "Too dark"})
    letter = await system.letter("board", stream=f"tickets/{POISONED}")
    assert (letter["version"], letter["status"]) == (1, "dead"), letter
    await deploy(system, {})
    act = Replay(selection=Selection(origin="board"), actor="a walk", reason="the fix is deployed")
    answer = await send_request(system.servers.rabbitmq_url, request(act, source="tests"), seconds=30)
    assert isinstance(answer, Done), answer
    await system.visible(f"/tickets/{POISONED}", lambda found: found["status"] == "open")


async def rebuild_compare_activate(system: System) -> None:
    await done(system.bus, Rebuild(projection="board", generation=2, actor="a walk"))
    await until_ready(system.servers, "board", 2)
    comparison = await compare_generations(settings_for(system.servers), "board", 2, 1, 5)
    assert comparison.equal, comparison
    assert [part.rows for part in comparison.parts] == [(2, 2)], comparison
    await done(system.bus, Activate(projection="board", generation=2, actor="a walk"))
    await read(system, "t-1", 2, status="closed")


async def read(system: System, ticket_id: str, version: int, **fields: str) -> None:
    headers = {"Tidemark-Consistency": f"tickets/{ticket_id}@{version}", "Prefer": "wait=10"}
    answer = await system.queries.get(f"/tickets/{ticket_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.items() >= {"ticket_id": ticket_id, "version": version, **fields}.items(), found


async def deploy(system: System, environment: dict[str, str]) -> None:
    """The board's projector, with these settings as well."""
    await system.supervisor.kill("board")
    await system.supervisor.start([program("board", system.servers, os.environ | environment)])


async def main(log: Path) -> None:
    with own_servers() as servers:
        async with running_system(servers, log) as system:
            await walk(system)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

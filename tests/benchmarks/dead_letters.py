"""``python -m tests.benchmarks.dead_letters``: an SRE's day with 100,000 dead letters, on the real system, as one JSON document.

    backlog ──▶ a healthy summary: its normal rate ──▶ the same backlog, every event poisoned ──▶ 100,000 letters
    ──▶ groups and list over HTTP and on the command line ──▶ the fix, one replay of everything ──▶ ratio of the two rates

The normal rate is the projector's from full queues, measured before and after, from its first event to its last; the replay's is from
the request to the job's end: selection, resends, applying, and every letter closed. Neither has the projector's start in it: who has
deployed the fix replays when it runs and is level with the present. Runs on servers of its own, bounded to ten minutes.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from typing import Any, Final

import httpx
import psutil
import uvloop

from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from deploy.servers.provide import provide
from shared.messages.control import Replay, Selection
from shared.messaging.operators.operations_client import request, send_request
from shared.views.operations import Refused
from tests.benchmarks.backlog import PROJECTION, Backlog

DEADLINE_S: Final = 600.0
ROUNDS: Final = 15
CLI_ROUNDS: Final = 5
LIMIT_MS: Final = 200.0
TIDEMARK: Final = (sys.executable, "-m", "deploy.cli.main")

QUESTIONS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "groups": ("/dead-letters/groups", {}),
    "groups_by_text": ("/dead-letters/groups", {"text": "drill"}),
    "list": ("/dead-letters", {}),
    "list_all": ("/dead-letters", {"status": "all"}),
    "list_one_stream": ("/dead-letters", {"stream": "orders/b-77"}),
    "list_by_type": ("/dead-letters", {"type": "orders.order-placed", "origin": PROJECTION}),
    "list_by_text": ("/dead-letters", {"text": "poisoned"}),
    "list_nothing": ("/dead-letters", {"text": "no such words"}),
}
JOB: Final = "SELECT * FROM jobs WHERE id = $1"


async def over_http(port: int) -> dict[str, Any]:
    found = {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        for name, (path, parameters) in QUESTIONS.items():
            times = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                (await client.get(path, params=parameters)).raise_for_status()
                times.append((time.perf_counter() - began) * 1000)
            found[name] = {"median_ms": round(statistics.median(times), 1), "worst_ms": round(max(times), 1)}
    return found


async def on_the_command_line(backlog: Backlog) -> dict[str, Any]:
    """Whole processes: most of it is Python starting, which ``--help`` shows alone."""
    asked = {"groups": ("groups",), "list": ("list",), "help": ("groups", "--help")}
    environment = dict(os.environ) | backlog.servers.environ()
    found = {}
    for name, arguments in asked.items():
        times = []
        for _ in range(CLI_ROUNDS):
            began = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *TIDEMARK,
                "dead-letters",
                *arguments,
                env=environment,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            if await process.wait():
                raise RuntimeError(f"tidemark dead-letters {name} ended with {process.returncode}")
            times.append((time.perf_counter() - began) * 1000)
        found[name] = {"median_ms": round(statistics.median(times), 1), "worst_ms": round(max(times), 1)}
    return found


async def replay(backlog: Backlog) -> dict[str, Any]:
    """Deploy the fix, see it level with the present, replay everything with nothing said about pace, and wait for the end."""
    started = time.monotonic()
    await backlog.start(PROJECTION)
    await backlog.until_current()
    act = Replay(selection=Selection(everything=True), actor="bench", reason="the fix is deployed")
    began = time.monotonic()
    answer = await send_request(backlog.servers.rabbitmq_url, request(act, source="tidemark/bench"), seconds=60)
    if isinstance(answer, Refused) or answer.job_id is None:
        raise RuntimeError(f"the replay was refused: {answer}")
    frozen = time.monotonic()
    while True:
        job = await backlog.databases["operations"].fetchrow(JOB, answer.job_id)
        if job is not None and job["state"] in {"completed", "stopped", "cancelled"}:
            break
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - began
    # The last messages of the sick summary, not acknowledged when it was killed, come to the healthy one: it needs no replay for them.
    if (job["state"], job["succeeded"]) != ("completed", job["total"]) or job["total"] < 0.99 * backlog.count:
        raise RuntimeError(f"the replay came to {dict(job)}")
    return {
        "letters": job["succeeded"],
        "projector_level_after_s": round(began - started, 2),
        "selection_frozen_after_s": round(frozen - began, 2),
        "seconds": round(seconds, 2),
        "per_s": round(job["succeeded"] / seconds),
    }


async def measure(backlog: Backlog, port: int) -> dict[str, Any]:
    await backlog.open()
    before = await backlog.applied_per_s()
    await backlog.publish_again()
    died = await backlog.fail_all()
    await backlog.start("query", query_port=str(port))
    answers = {"http": await over_http(port), "command_line": await on_the_command_line(backlog)}
    await backlog.supervisor.kill("query")
    replayed = await replay(backlog)
    await backlog.supervisor.kill("dead_letters")
    await backlog.supervisor.kill(PROJECTION)
    await backlog.publish_again()
    normal = [before, await backlog.applied_per_s()]
    worst = max(answer["median_ms"] for answer in answers["http"].values())
    return {
        "normal_per_s": [round(rate) for rate in normal],
        "dead_letters_per_s": round(died),
        "answers": answers,
        "answers_within_200_ms": worst <= LIMIT_MS,
        "replay": replayed,
        "ratio": round(replayed["per_s"] / statistics.mean(normal), 3),
    }


async def bounded(letters: int) -> dict[str, Any]:
    with provide() as servers:
        if servers.origin == "environment":
            raise SystemExit("this empties the stores it runs on: unset TIDEMARK_*_URL, it starts its own")
        async with asyncio.timeout(DEADLINE_S), Supervisor(output=None) as supervisor:
            backlog = Backlog(servers, supervisor, letters)
            try:
                return await measure(backlog, free_port())
            finally:
                await backlog.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--letters", type=int, default=100_000, help="how many (default 100,000)")
    options = parser.parse_args()
    began = time.monotonic()
    found = {"letters": options.letters, "cores": psutil.cpu_count(), **uvloop.run(bounded(options.letters))}
    print(json.dumps(found | {"took_seconds": round(time.monotonic() - began, 1)}, indent=2))


if __name__ == "__main__":
    main()

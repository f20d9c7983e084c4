"""Every process of a running system serves its metrics: the declared ones, whose labels have few values."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.run.deployables import DEPLOYABLES
from deploy.servers.ports import free_port
from shared.observability import metrics, targets
from shared.observability.families import FAMILIES
from shared.processes import NAMES as PROCESS_MANAGERS
from shared.read_models import NAMES
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)

WITHIN_S = 60.0
ONLY_AFTER = {
    "tidemark_rebuild_remaining_events",
    "tidemark_rebuild_remaining_seconds",
    "tidemark_dead_letter_newest_group_timestamp_seconds",
    "tidemark_verify_last_success_timestamp_seconds",
    "tidemark_verify_last_run_timestamp_seconds",
    "tidemark_verify_differences",
    "tidemark_resent_events_total",
}
"""Exposed once there is a rebuild, a letter, a verification, a resend."""
SUFFIXES = ("", "_bucket", "_count", "_sum")

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(system: System) -> dict[str, Series]:
    """Deployable → (name, labels) → value."""
    found: dict[str, Series] = {}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for target in targets.parse(system.targets):
            text = (await client.get(target.url)).raise_for_status().text
            found[target.name] = {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
    return found


def missing(found: Mapping[str, Series]) -> set[tuple[str, str]]:
    """(deployable, metric) of what is declared for a deployable, and not exposed by it."""
    return {
        (deployable, family.name)
        for deployable in DEPLOYABLES
        for family in FAMILIES
        if (deployable in family.of or not family.of) and family.name not in ONLY_AFTER
        if not any(family.name + suffix == name for name, _ in found[deployable] for suffix in SUFFIXES)
    }


async def test_every_deployable_serves_what_is_declared_for_it_and_no_more_than_2000_series(system: System) -> None:
    await system.bus.accepted("customers.register-customer", {"customer_id": "metrics-1", "name": "Ann"})
    await system.bus.command("metrics.made-up", {"x": 1})
    token = {"Tidemark-Consistency": "customers/metrics-1@1", "Prefer": "wait=20"}
    assert (await system.queries.get("/customers/metrics-1", headers=token)).status_code == 200
    assert (await system.queries.get("/made/up/path")).status_code == 404
    absent: set[tuple[str, str]] = set()
    found: dict[str, Series] = {}
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                found = await scraped(system)
                absent = missing(found)
                # A query service has no inbox of its own kind, and the ingress none at all.
                absent = {each for each in absent if each[1] != "tidemark_inbox_messages"}
                absent = {each for each in absent if each not in WITHOUT_BROKER}
                if not absent:
                    break
                await asyncio.sleep(0.5)
    except TimeoutError:
        pytest.fail(f"declared and not exposed: {sorted(absent)}")
    for deployable, series in found.items():
        assert len(series) <= metrics.MAX_SERIES, deployable
        assert {name for name, _ in series if name.startswith("tidemark_")} <= DECLARED, deployable
    worker = found["worker"]
    accepted = {"type": "customers.register-customer", "outcome": "accepted", "code": ""}
    assert worker["tidemark_commands_total", frozenset(accepted.items())] >= 1
    made_up = {"type": "other", "outcome": "rejected", "code": "unknown-command"}
    assert worker["tidemark_commands_total", frozenset(made_up.items())] >= 1
    assert not any("made" in value for series in found.values() for _, labels in series for _, value in labels)
    assert (
        found["query"]["tidemark_http_request_seconds_count", frozenset({("route", "other"), ("status", "4xx")})] >= 1
    )
    for name in NAMES:
        assert found["query"]["tidemark_query_projection_current", frozenset({("projection", name)})] == 1
        for deployable in ("query", name):
            idle = frozenset({("pool", name), ("state", "idle")})
            assert ("tidemark_pool_connections", idle) in found[deployable], deployable
    for name in (*NAMES, *PROCESS_MANAGERS):
        lanes = frozenset({("queue", f"{name} lanes")})
        assert found["dead_letters"]["tidemark_queues_without_consumer", lanes] == 0
    held = frozenset({("projection", "summary"), ("state", "dead")})
    assert found["summary"]["tidemark_streams_held", held] >= 0


async def test_the_public_ports_serve_no_metrics(system: System) -> None:
    assert (await system.queries.get("/metrics")).status_code == 404
    assert (await system.commands.get("/metrics")).status_code == 404


async def status(system: System, **changed: str) -> tuple[int, dict[str, Any]]:
    environ = system.servers.environ() | {
        "PATH": os.environ["PATH"],
        "TIDEMARK_QUERY_URL": str(system.queries.base_url),
        "TIDEMARK_COMMAND_URL": str(system.commands.base_url),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli.main", "status", "--output", "json"),
        env=environ | changed,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, json.loads(said)


async def test_status_reads_every_part_of_a_running_system(system: System) -> None:
    """Other tests leave letters behind, so it need not be well."""
    code, found = await status(system)
    assert found["down"] == {}
    assert set(found["projections"]) == set(NAMES)
    assert found["outbox"]["pending"] >= 0
    assert found["dead_letters"] is not None
    assert code == (0 if found["well"] else 1)
    assert found["well"] == (not found["findings"])


async def test_status_names_the_parts_that_are_down_and_shows_the_others(system: System) -> None:
    dead = f"127.0.0.1:{free_port()}"
    code, found = await status(
        system, TIDEMARK_QUERY_URL=f"http://{dead}", TIDEMARK_OPERATIONS_DB_URL=f"postgresql://x:y@{dead}/x"
    )
    assert code == 1
    assert set(found["down"]) == {"the query service", "the operations database"}
    assert found["projections"] is None
    assert found["dead_letters"] is None
    assert found["outbox"] is not None
    unknown = [each for each in found["findings"] if each["kind"] == "unknown"]
    assert {each["where"] for each in unknown} == set(found["down"])


async def test_status_sees_that_the_worker_was_stopped_although_it_took_its_leave(system: System) -> None:
    os.kill(system.supervisor.pid("worker"), signal.SIGTERM)
    try:
        async with asyncio.timeout(WITHIN_S):
            while system.supervisor.running("worker"):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        code, found = await status(system)
    finally:
        await system.supervisor.restart("worker")
    assert code == 1
    of_worker = [each for each in found["findings"] if each["where"] == "worker"]
    assert "nothing consumes from commands" in str(of_worker), found["findings"]
    assert {each["next"] for each in of_worker} == {"tidemark health worker"}


DECLARED = {family.name + suffix for family in FAMILIES for suffix in SUFFIXES}
WITHOUT_BROKER = {("query", "tidemark_broker_connected")}

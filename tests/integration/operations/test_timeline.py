"""Deployments and alerts are in the audit, among acts: each once, however often it is told."""

import asyncio
from typing import Any

import asyncpg
import httpx

from shared.messaging.reports import Reports, started
from tests.integration.dead_letters.harness import Harness
from tests.integration.operations.conftest import client_of
from tests.proxy import Proxy

FIRED = {
    "status": "firing",
    "labels": {"alertname": "TidemarkDeadLettersWait", "projection": "summary", "severity": "ticket"},
    "annotations": {"summary": "dead letters of summary wait", "runbook": "deploy/observability/runbooks/x.md"},
    "startsAt": "2026-03-01T09:30:00.123Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus:9090/graph",
    "fingerprint": "b6a1f2c3d4e5f607",
}
OVER = FIRED | {"status": "resolved", "endsAt": "2026-03-01T10:00:00Z"}


def notification(*alerts: dict[str, Any]) -> dict[str, Any]:
    """As Alertmanager 0.25 posts it."""
    return {
        "version": "4",
        "groupKey": "{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "page",
        "alerts": alerts,
    }


async def test_alerts_are_in_the_audit_when_they_fire_and_when_they_are_over(
    harness: Harness, ann: httpx.AsyncClient, nobody: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    async with client_of(nobody, db, "alertmanager", "operations:alerts") as told:
        first = await told.post("/audit/alerts", json=notification(FIRED))
        assert (first.status_code, first.json()["count"]) == (200, 1), first.text
        again = await told.post("/audit/alerts", json=notification(FIRED, OVER))
        assert (again.status_code, again.json()["count"]) == (200, 1), again.text
        for wrong in (notification(FIRED | {"status": "pending"}), notification({}), {"alerts": "none"}):
            assert (await told.post("/audit/alerts", json=wrong)).status_code == 422, wrong
    assert (await ann.post("/audit/alerts", json=notification(FIRED))).status_code == 403
    found = (await ann.get("/audit?kind=alert")).json()["items"]
    assert [(one["act"], one["at"], one["projection"], one["actor"]) for one in found] == [
        ("alert-resolved", "2026-03-01T10:00:00Z", "summary", "alertmanager"),
        ("alert-firing", "2026-03-01T09:30:00.123000Z", "summary", "alertmanager"),
    ]
    assert found[1]["reason"] == "TidemarkDeadLettersWait: dead letters of summary wait"
    assert found[1]["details"]["labels"] == FIRED["labels"]
    csv = await ann.get("/audit?kind=alert", headers={"Accept": "text/csv"})
    assert csv.text.count("alert-") == 2


async def test_a_process_with_another_version_is_a_deployment_and_a_restart_is_none(
    harness: Harness, ann: httpx.AsyncClient
) -> None:
    for build in ("one", "one", "two"):
        await harness.publisher.publish(started("summary", build))
    await harness.publisher.publish(started("worker", ""))

    async def all_there() -> bool:
        return bool(await harness.db.fetchval("SELECT count(*) FROM audit WHERE act = 'deployed'") == 3)

    await harness.until(all_there)
    worker, second, first = (await ann.get("/audit?kind=deployment")).json()["items"]
    assert [one["details"]["version"].partition("+")[2] for one in (first, second, worker)] == ["one", "two", ""]
    assert second["details"]["before"] == first["details"]["version"]
    assert (first["details"]["before"], worker["details"]["before"]) == (None, None)
    assert (second["projection"], worker["projection"], second["actor"]) == ("summary", None, "tidemark")
    assert {one["act"] for one in (await ann.get("/audit?kind=act")).json()["items"]} == {"create-key"}
    assert (await ann.get("/audit?kind=deployment&act=replay")).json()["items"] == []
    assert (await ann.get("/audit?kind=unicorn")).status_code == 400


async def test_a_report_is_published_once_the_broker_is_there(harness: Harness) -> None:
    async with Proxy(harness.settings.rabbitmq_url).running() as proxy:
        proxy.down()
        publisher = type(harness.publisher)(proxy.url, "reports")
        reports = Reports(publisher, started("search", ""))
        running = asyncio.create_task(reports.run())
        reports.add(started("analytics", ""))
        proxy.up()

        async def both() -> bool:
            return bool(await harness.db.fetchval("SELECT count(*) FROM builds") == 2)

        await harness.until(both)
        running.cancel()
        await publisher.close()

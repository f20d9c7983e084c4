"""A real Prometheus beside a running system: it scrapes every process; every rule and every panel is about series that there are."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.observability.alerting.files import ALERTS
from deploy.observability.panels import DASHBOARDS, RATE
from deploy.run.child import Program
from deploy.run.deployables import DEPLOYABLES
from deploy.run.supervisor import Supervisor
from deploy.servers import packages
from deploy.servers.ports import free_port
from tests.e2e.system import System
from tests.e2e.test_metrics import ONLY_AFTER
from tests.unit.observability.test_alerts import OF_OTHERS, names_in

pytestmark = pytest.mark.timeout(200)

WITHIN_S = 90.0


async def ask(client: httpx.AsyncClient, path: str, **parameters: str) -> Any:
    response = await client.get(f"/api/v1/{path}", params=parameters)
    answer = response.json()
    assert answer["status"] == "success", (parameters, answer)
    return answer["data"]


async def scraped_by(client: httpx.AsyncClient) -> set[str]:
    """The deployables whose metrics have arrived."""
    found = await ask(client, "query", query='up{job="tidemark"} == 1')
    return {each["metric"]["deployable"] for each in found["result"]}


async def until_all_are_scraped(client: httpx.AsyncClient) -> None:
    found: set[str] = set()
    try:
        async with asyncio.timeout(WITHIN_S):
            while found != set(DEPLOYABLES):
                await asyncio.sleep(0.5)
                found = await scraped_by(client)
    except TimeoutError:
        pytest.fail(f"not scraped: {set(DEPLOYABLES) - found}")


async def names_of(client: httpx.AsyncClient, wanted: set[str]) -> set[str]:
    """The names of all series, once all that are wanted are there; some gauges are set only every 15 seconds."""
    names: set[str] = set()
    try:
        async with asyncio.timeout(WITHIN_S):
            while not wanted <= names:
                await asyncio.sleep(0.5)
                names = set(await ask(client, "label/__name__/values"))
    except TimeoutError:
        pytest.fail(f"no series: {sorted(wanted - names)}")
    return names


async def test_every_expression_names_only_what_a_running_system_exposes(system: System, tmp_path: Path) -> None:
    if packages.missing(packages.MONITORING):
        await asyncio.to_thread(packages.install, packages.MONITORING)
    port = free_port()
    arguments = (sys.executable, "-m", "deploy.observability.private", str(tmp_path / "prometheus"), str(port))
    environ = {"PATH": os.environ["PATH"], "TIDEMARK_METRICS_TARGETS": system.targets, "PYTHONUNBUFFERED": "1"}
    token = {"Tidemark-Consistency": "customers/prometheus-1@1", "Prefer": "wait=20"}
    await system.bus.accepted("customers.register-customer", {"customer_id": "prometheus-1", "name": "Ann"})
    assert (await system.queries.get("/customers/prometheus-1", headers=token)).status_code == 200
    async with Supervisor(None) as supervisor:
        await supervisor.start([Program("prometheus", arguments, environ)])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            await until_all_are_scraped(client)
            expressions = [alert.expression for alert in ALERTS]
            expressions += [
                query.replace(RATE, "1m")
                for panels in DASHBOARDS.values()
                for panel in panels
                for query in panel.queries.values()
            ]
            used = set().union(*map(names_in, expressions))
            await names_of(client, used - OF_OTHERS - ONLY_AFTER)
            for expression in expressions:
                await ask(client, "query", query=expression)
            rules = [rule for group in (await ask(client, "rules"))["groups"] for rule in group["rules"]]
            assert {rule["name"] for rule in rules} == {alert.name for alert in ALERTS}
            assert not [rule["name"] for rule in rules if rule["health"] == "err"]
        assert supervisor.running("prometheus")
        pid = supervisor.pid("prometheus")
    assert not psutil.pid_exists(pid)

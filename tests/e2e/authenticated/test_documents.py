"""Both services answer as their documents say, and nobody beyond its scopes: a few requests of each operation. Many: tests/faults."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.e2e.authenticated.conformance import CREDENTIAL, SERVICES, Examination, examination
from tests.e2e.authenticated.secured import Secured, subject

pytestmark = pytest.mark.timeout(400)

SEED = 1


@pytest.fixture(scope="module")
async def examined(secured: Secured) -> AsyncIterator[Examination]:
    yield await examination(secured)
    # One of the requests may have forbidden operators' acts.
    admin = await secured.headers(subject("admin"), "operations:read-only")
    assert (await secured.queries.post("/read-only/off", headers=admin, json={"reason": "examined"})).is_success


@pytest.mark.parametrize("service", SERVICES)
async def test_answers_to_a_key_with_all_scopes_are_as_documented(examined: Examination, service: str) -> None:
    report = await examined.of(service, "everyone", examples=3, seed=SEED)
    assert not report.findings, report.text()
    answered = [operation for operation, statuses in report.statuses.items() if statuses & {200, 202}]
    assert len(answered) > len(report.statuses) / 3, report.statuses


@pytest.mark.parametrize("service", SERVICES)
async def test_a_key_gets_nothing_beyond_its_scopes(examined: Examination, service: str) -> None:
    report = await examined.of(service, "customers", examples=1, seed=SEED)
    assert not report.findings, report.text()
    assert any(403 in statuses for statuses in report.statuses.values())
    assert any(statuses & {200, 202, 404} for statuses in report.statuses.values())


@pytest.mark.parametrize("service", SERVICES)
async def test_nobody_gets_anything_but_what_is_public(examined: Examination, service: str) -> None:
    report = await examined.of(service, "nobody", examples=1, seed=SEED)
    assert not report.findings, report.text()
    assert any(401 in statuses for statuses in report.statuses.values())


async def test_a_document_that_lies_is_found(examined: Examination) -> None:
    said = examined.documents["query"]
    freshness, orders = json.loads(json.dumps([said["paths"]["/freshness"], said["paths"]["/orders"]]))
    freshness["get"]["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "string"}
    orders["get"]["security"] = [{CREDENTIAL: ["queries:customers"]}]
    lies = {**said, "paths": {"/freshness": freshness, "/orders": orders}}
    asker = replace(examined.askers["everyone"], scopes=frozenset({"queries:freshness"}))
    found = await replace(examined, documents={"query": lies}, askers={"liar": asker}).of(
        "query", "liar", examples=3, seed=SEED
    )
    assert {(operation, check) for operation, check, _ in found.findings} >= {
        ("GET /freshness", "response_schema_conformance"),
        ("GET /orders", "within_scope"),
    }

"""Every process of a running system serves its metrics: the declared ones, with labels of a few values."""

import asyncio
from collections.abc import Mapping

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.observability import targets
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(120)

WITHIN_S = 60.0

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(system: System) -> dict[str, Samples]:
    """Deployable → (name, labels) → value."""
    found: dict[str, Samples] = {}
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        for target in targets.parse(system.targets):
            text = (await client.get(target.url)).raise_for_status().text
            found[target.name] = {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
    return found


async def test_every_deployable_serves_what_it_declares(system: System) -> None:
    await system.bus.accepted("customers.register-customer", {"customer_id": "metrics-1", "name": "Ann"})
    await asyncio.sleep(12)
    print(await scraped(system))

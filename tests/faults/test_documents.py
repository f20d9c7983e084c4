"""Both services answer as their documents say: many requests of each operation, at the limits of its schemas and at random."""

from collections.abc import AsyncIterator
from random import Random

import pytest

from tests.e2e.authenticated.conformance import SERVICES, Examination, examination
from tests.e2e.authenticated.secured import secured_system

pytestmark = [pytest.mark.timeout(1800), pytest.mark.slow]

EXAMPLES = 50


@pytest.fixture(scope="module")
async def examined(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Examination]:
    async with secured_system(tmp_path_factory.mktemp("secured")) as system:
        yield await examination(system, every_command=True)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("asker", "examples"), [("everyone", EXAMPLES), ("customers", 20), ("nobody", 5)])
async def test_no_answer_is_undocumented_or_beyond_the_scope(
    examined: Examination, service: str, asker: str, examples: int, seeded: Random
) -> None:
    seed = seeded.randrange(2**32)
    report = await examined.of(service, asker, examples=examples, seed=seed, thorough=True)
    print(f"{report.requests} requests of {len(report.statuses)} operations: {report.text() or 'no finding'}")
    assert not report.findings, report.text()
    if (service, asker) == ("query", "everyone"):
        reads = {name: statuses for name, statuses in report.statuses.items() if name.startswith("GET")}
        assert not [name for name, statuses in reads.items() if 200 not in statuses], "never answered with 200"

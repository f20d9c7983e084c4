"""Every statement of verifying is valid against the migrated schemas."""

from types import ModuleType
from typing import Any

import pytest

from deploy.verify import event_store, operations, postgres, search, summary
from tests.integration.verify.town import Town

ELSEWHERE = {"ACTIVE", "DISCARDED"}
"""Of the registry, and of a table that older stores do not have."""


def statements(module: ModuleType) -> dict[str, str]:
    named = {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    return {name: value for name, value in named.items() if value.lstrip().startswith(("SELECT", "WITH"))}


@pytest.mark.parametrize("module", [event_store, operations, postgres, summary, search])
async def test_every_statement_can_be_prepared(town: Town, module: ModuleType) -> None:
    connections: dict[Any, Any] = {event_store: town.write, operations: town.operations, search: town.search}
    found = statements(module)
    assert len(found) >= 3
    for name, statement in found.items():
        if module is postgres and name in ELSEWHERE:
            continue
        await connections.get(module, town.summary).prepare(statement)

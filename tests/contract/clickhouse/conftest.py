"""The journal in ClickHouse behind the fixtures of the contract suite. Without chdb (`make test-clickhouse`) its tests are left out."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.clickhouse.read_store import ClickHouseReadStore


@pytest.fixture(scope="session")
def clickhouse_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clickhouse")


@pytest.fixture
async def read_store(clickhouse_folder: Path) -> "ClickHouseReadStore":
    """Empty."""
    from tests.contract.clickhouse.read_store import ClickHouseReadStore

    found = ClickHouseReadStore(f"chdb:{clickhouse_folder}#contract")
    await found.clear()
    return found

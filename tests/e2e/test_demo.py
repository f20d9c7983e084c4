"""``tidemark demo``, from nothing to a report and back to nothing."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.system import own_servers

pytestmark = pytest.mark.timeout(120)


async def test_a_demo_of_200_orders_finds_every_store_equal_to_the_source(tmp_path: Path) -> None:
    with own_servers() as servers:
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | servers.environ()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli.main", "demo", "--orders", "200", "--output", "json"),
            cwd=tmp_path,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    report = json.loads(output)
    assert report["equal"]
    assert report["comparable"]
    assert report["refused"]["equal"]
    assert {figure["verdict"] for figure in report["figures"]} == {"equal"}
    assert {"orders", "items", "revenue", "distinct customers"} <= {figure["name"] for figure in report["figures"]}

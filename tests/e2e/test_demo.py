"""``tidemark demo``, from nothing to a report and back to nothing."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.system import own_servers

pytestmark = pytest.mark.timeout(120)


async def test_a_demo_of_200_orders_finds_every_store_equal_to_the_source_on_a_second_run_too(tmp_path: Path) -> None:
    with own_servers() as servers:
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | servers.environ()
        for decided_before in (0, None):
            report = await _demo(tmp_path, environ)
            assert report["equal"]
            assert report["comparable"]
            assert all(figure["verdict"] == "equal" for figure in report["figures"])
            assert {figure["name"] for figure in report["figures"]} >= {"orders", "items", "revenue"}
            commands = report["commands"]
            assert commands["decided_before"] == (commands["sent"] if decided_before is None else 0)
            assert report["refused"]["equal"]


async def _demo(folder: Path, environ: dict[str, str]) -> dict[str, object] | None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", "demo", "--orders", "200", "--output", "json"),
        cwd=folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return json.loads(output)

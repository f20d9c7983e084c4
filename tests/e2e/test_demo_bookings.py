"""``tidemark demo bookings``, from nothing to a report: every answer is that of the model, and verify finds nothing."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.system import own_servers

pytestmark = pytest.mark.timeout(120)


async def test_a_practice_of_three_rounds_is_equal_to_its_model(tmp_path: Path) -> None:
    with own_servers() as servers:
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | servers.environ()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli.main", "demo", "bookings", "--rounds", "3", "--output", "json"),
            cwd=tmp_path,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    report = json.loads(output)
    assert report["equal"]
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert {figure["verdict"] for figure in figures.values()} == {"equal"}
    assert figures["winners of 5 races of 50"]["query"] == [1] * 5
    assert figures["hours of 2026-03-29 in Europe/Berlin"]["query"] == 23
    assert report["commands"]["rejected"]["slot-taken"] > 300

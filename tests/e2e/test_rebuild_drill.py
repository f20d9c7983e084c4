"""``tidemark drill rebuild``, from nothing to a report and back to nothing. Run by ``make test-faults``."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.system import own_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


async def test_read_models_are_rebuilt_and_switched_and_nobody_notices(tmp_path: Path) -> None:
    with own_servers() as servers:
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | servers.environ()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli.main", "drill", "rebuild"),
            *("--orders", "500", "--live", "5", "--output", "json"),
            cwd=tmp_path,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, said = await process.communicate()
    assert process.returncode == 0, (output.decode(), said.decode())
    report = json.loads(output)
    assert report["good"]
    assert [one["projection"] for one in report["rebuilt"]] == ["summary", "analytics", "search"]
    for one in report["rebuilt"]:
        assert one["compared"]["equal"]
        assert one["compared_when_quiet"]["equal"]
        assert sum(part["undecided"] for part in one["compared_when_quiet"]["parts"]) == 0
        assert len(one["switch_seconds"]) == 3
        assert one["events"] > 500
    assert report["live_orders"]["accepted"] > 20
    assert all(count > 10 for count in report["queries"]["as_before"].values())

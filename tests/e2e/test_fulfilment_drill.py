"""``tidemark drill fulfilment``, from nothing to a report and back to nothing: a small one here, the whole in ``tests/faults``."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.servers.provide import PROCESSES, REQUIRED, STORE_SETTINGS


async def drill(folder: Path, *arguments: str) -> dict[str, Any]:
    """The report of a drill that has passed. It starts servers of its own, and kills them, where it can."""
    urls = {f"TIDEMARK_{name.upper()}" for name in (*REQUIRED, PROCESSES, *STORE_SETTINGS)}
    environ = {name: value for name, value in os.environ.items() if name not in urls and name != "TIDEMARK_SERVERS"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli.main", "drill", *arguments, "--output", "json"),
        cwd=folder,
        env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, said = await process.communicate()
    assert process.returncode == 0, (output.decode(), said.decode())
    report: dict[str, Any] = json.loads(output)
    assert report["passed"]
    return report


async def drilled(folder: Path, *arguments: str) -> dict[str, Any]:
    report = await drill(folder, "fulfilment", *arguments)
    assert (report["stuck"], report["verified"], report["findings"]) == ([], True, [])
    assert sum(report["results"].values()) == report["orders"]
    return report


@pytest.mark.timeout(240)
async def test_every_order_is_fulfilled_or_cancelled_while_processes_are_killed(tmp_path: Path) -> None:
    report = await drilled(tmp_path, "--orders", "60", "--kills", "2", "--kill-every", "1", "--pay-within", "15")
    assert report["results"]["fulfilled"] > 0
    assert report["results"]["cancelled: out of stock"] > 0
    assert report["kills"] == {"worker": 1, "relay": 1}

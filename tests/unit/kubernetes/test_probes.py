"""The probes of pods without HTTP, by the health file of a real process."""

import asyncio
import os
import subprocess
import time
from pathlib import Path

import pytest

from deploy.k8s import pods
from shared.runtime.process import Process


def passes(name: str, *, ready: bool) -> bool:
    done = subprocess.run(pods.health_command(name, ready=ready), capture_output=True, timeout=10, check=False)
    return done.returncode == 0


async def test_a_process_is_alive_while_it_writes_its_file_and_ready_while_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "RUNTIME", str(tmp_path))
    trouble: str | None = "the store cannot be reached"
    process = Process("summary", runtime_dir=str(tmp_path))
    file = tmp_path / "summary.json"

    async def work() -> None:
        await process.stopping.wait()

    async def states() -> None:
        nonlocal trouble
        async with asyncio.timeout(20):
            while not file.exists():  # noqa: ASYNC110 - another task writes it
                await asyncio.sleep(0.01)
            seen = (passes("summary", ready=False), passes("summary", ready=True))
            assert seen == (True, False), "an outage is not a reason to be killed"
            trouble = None
            while not passes("summary", ready=True):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    assert not passes("summary", ready=False)
    running = asyncio.create_task(process.run({"work": work}, background={}, probes={"store": lambda: trouble}))
    try:
        await states()
    finally:
        process.stopping.set()
        await running
    long_ago = time.time() - pods.FRESH_S - 2
    os.utime(file, (long_ago, long_ago))
    assert (passes("summary", ready=False), passes("summary", ready=True)) == (False, False)

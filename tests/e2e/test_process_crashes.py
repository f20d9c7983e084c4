"""The process managers die between any two steps: what a process decides has its effect once, and no process stops."""

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from deploy.run.deployables import program
from deploy.run.supervisor import ChildExitedError
from shared.runtime.failpoints import EXIT_CODE, Failpoint
from tests.e2e.system import System
from tests.e2e.test_processes import booked, on_grid

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

NAME = "processes"
PLACES = (
    (Failpoint.BEFORE_COMMIT, 1),
    (Failpoint.BEFORE_COMMIT, 2),
    (Failpoint.BEFORE_COMMIT, 3),
    (Failpoint.AFTER_COMMIT, 1),
    (Failpoint.BEFORE_CONFIRM, 1),
    (Failpoint.BEFORE_CONFIRM, 2),
    (Failpoint.BEFORE_DELETE, 1),
    (Failpoint.BEFORE_ACK, 1),
    (Failpoint.BEFORE_ACK, 2),
)


@pytest.mark.parametrize(("place", "visit"), PLACES)
async def test_a_reminder_is_requested_once_wherever_the_process_manager_dies(
    system: System, place: Failpoint, visit: int
) -> None:
    await system.supervisor.kill(NAME)
    sick = program(NAME, system.servers, os.environ | {"TIDEMARK_FAILPOINT": f"{NAME}:{place}:{visit}"})
    starts_at = on_grid(datetime.now(UTC) + timedelta(hours=20))
    bookings = [await booked(system, starts_at) for _ in range(3)]
    try:
        with suppress(ChildExitedError):  # it may die before it is ready
            await system.supervisor.start([sick])
            async with asyncio.timeout(30):
                await system.supervisor.unexpected_exit()
        exit_ = system.supervisor.exit_of(NAME)
        assert exit_ is not None
        assert exit_.reason == f"exit code {EXIT_CODE}"
    finally:
        await system.supervisor.kill(NAME)
        await system.supervisor.start([program(NAME, system.servers)])
    for booking in bookings:
        process = await system.visible(f"/processes/{booking}", lambda found: found["waiting_for"] == ["end"])
        assert len(process["commands"]) == 1
        assert [given["kind"] for given in process["history"]].count("outcome") == 1
        document = await system.visible(f"/bookings/{booking}", lambda found: found.get("reminded_at"))
        assert document["version"] == 3

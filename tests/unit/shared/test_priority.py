"""The CPU priority of a deployable, as the kernel says it."""

import json
import subprocess
import sys

import pytest

from shared.runtime.priority import GROUP

SAYS = """
import json, os
from shared.runtime.priority import GROUP, lower
before = GROUP.read_text() if GROUP.exists() else None
lower({nice})
print(json.dumps([os.getpriority(os.PRIO_PROCESS, 0), before, GROUP.read_text() if GROUP.exists() else None]))
"""


def lowered(nice: int, *, leads: bool) -> tuple[int, str | None, str | None]:
    """Its nice value, and what its scheduling group was and is, of a process that leads its session or does not."""
    ran = subprocess.run(
        [sys.executable, "-c", SAYS.format(nice=nice)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        start_new_session=leads,
    )
    own, before, after = json.loads(ran.stdout)
    return own, before, after


@pytest.mark.parametrize("leads", [True, False])
def test_a_process_steps_back_and_never_forward(leads: bool) -> None:
    assert lowered(0, leads=leads)[0] == 0
    assert lowered(7, leads=leads)[0] == 7


@pytest.mark.skipif(not GROUP.exists(), reason="sessions are not scheduled as groups here")
def test_a_session_of_its_own_steps_back_as_a_group_and_the_session_of_others_does_not() -> None:
    _, _, group = lowered(7, leads=True)
    assert group is not None
    assert group.split()[-1] == "7"
    _, before, after = lowered(7, leads=False)
    assert before == after

"""The CPU priority of a deployable beside the others on its machine.

A nice value weighs a process against those of its scheduling group. Where Linux makes a group of each session (``sched_autogroup``), as it
does by default, processes that are started in sessions of their own are each alone in a group, and their nice values change nothing: the
group has one of its own.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

GROUP: Final = Path("/proc/self/autogroup")


def lower(nice: int) -> None:
    """Run this process, and what it starts, at this nice value (0 to 19) or what it has, if that is higher.

    Its session's group, too, if the process leads the session: else others are in it. In a container with CPU shares of its own, neither
    counts against other containers: set the shares.
    """
    if nice <= 0:
        return
    os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # no such groups here
            GROUP.write_text(str(nice))

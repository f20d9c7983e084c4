"""What processes cost: peak memory and CPU, as the kernel has counted them since they began."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Cost:
    """``peak_mib``: most memory resident at once; ``cpu_s``: user and system, children that have ended included."""

    peak_mib: float
    cpu_s: float


def costs(pids: Mapping[str, int]) -> dict[str, Cost]:
    """By name; a process that is gone is left out."""
    found = {}
    for name, pid in pids.items():
        with suppress(psutil.NoSuchProcess):
            found[name] = cost(pid)
    return found


def cost(pid: int) -> Cost:
    """Raises psutil.NoSuchProcess."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    cpu = times.user + times.system + times.children_user + times.children_system
    return Cost(round(_peak_bytes(process) / 2**20, 1), round(cpu, 2))


def family_cost(pid: int) -> Cost:
    """A server with its descendants; their peaks are added up, so shared pages count more than once."""
    process = psutil.Process(pid)
    parts = [cost(pid)]
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            parts.append(Cost(_peak_bytes(child) / 2**20, times.user + times.system))
    return Cost(round(sum(part.peak_mib for part in parts), 1), round(sum(part.cpu_s for part in parts), 2))


def _peak_bytes(process: psutil.Process) -> int:
    """The kernel's high-water mark where it keeps one (Linux), else what is resident now."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)

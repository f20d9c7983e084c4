"""Peak memory and CPU time of processes, as the kernel has counted them since they started."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """``peak_mib``: peak resident memory; ``cpu_s``: user and system time, including children that have ended."""

    peak_mib: float
    cpu_s: float


def resource_usages(pids: Mapping[str, int]) -> dict[str, ResourceUsage]:
    """By name; a process that has ended is omitted."""
    found = {}
    for name, pid in pids.items():
        with suppress(psutil.NoSuchProcess):
            found[name] = resource_usage(pid)
    return found


def resource_usage(pid: int) -> ResourceUsage:
    """Raises psutil.NoSuchProcess."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    cpu = times.user + times.system + times.children_user + times.children_system
    return ResourceUsage(round(_peak_bytes(process) / 2**20, 1), round(cpu, 2))


def process_tree_usage(pid: int) -> ResourceUsage:
    """A process with its descendants; their peaks are summed, so shared pages count more than once."""
    process = psutil.Process(pid)
    parts = [resource_usage(pid)]
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            parts.append(ResourceUsage(_peak_bytes(child) / 2**20, times.user + times.system))
    return ResourceUsage(round(sum(part.peak_mib for part in parts), 1), round(sum(part.cpu_s for part in parts), 2))


def _peak_bytes(process: psutil.Process) -> int:
    """The kernel's high-water mark where there is one (Linux), else the memory resident now."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)

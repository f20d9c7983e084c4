"""No private server outlives its owner, not even one that was killed with SIGKILL.

Every server process is on record in its folder as (pid, start time): a pid alone may be somebody else's by now.
Two things read these records: a small watcher process, started beside the servers, that waits for the owner to go,
and the next start, which looks for folders of dead owners. Both end exactly the recorded processes and their
children, and remove the folder if it was a temporary one. Only folders of the same user are looked at.

The watcher runs this file as a script: it imports nothing of Tidemark.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

OWNER = "owner.json"
PROCESS = "process.json"
LOCK = "lock"
PREFIX = "tidemark-"
WATCH_INTERVAL = 0.25


def write(path: Path, **fields: Any) -> None:
    """Write a record that is either whole or not there, readable by its owner only."""
    partial = path.with_name(path.name + ".part")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(fields))
    partial.replace(path)


def read(path: Path) -> dict[str, Any]:
    """The record, or an empty one where there is none."""
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def identity(pid: int) -> dict[str, Any]:
    """What tells this process from a later one with the same pid."""
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def alive(record: dict[str, Any]) -> psutil.Process | None:
    """The recorded process, if it is still the same one and not a zombie."""
    try:
        process = psutil.Process(int(record["pid"]))
        if abs(process.create_time() - float(record["started"])) > 0.02 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except (KeyError, TypeError, ValueError, psutil.Error):
        return None
    return process


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that descend from it, the eldest first."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_family(process: psutil.Process) -> None:
    """SIGKILL the process and all its descendants, having stopped it first so that it makes no new ones."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
    members = family(process)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    wait_for(members, 5)


def wait_for(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until they have ended, reaped by their parents or not; returns those that have not after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while (still := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.005)
    return still


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def end_servers(root: Path) -> None:
    """End every server on record below ``root``: with its own quick signal where it has one, then with SIGKILL."""
    found = []
    for path in sorted(root.glob(f"*/{PROCESS}")):
        record = read(path)
        if process := alive(record):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
                if quick := record.get("quick_signal"):
                    process.send_signal(signal.Signals(int(quick)))
            found.append(process)
        path.unlink(missing_ok=True)
    for process in wait_for(found, 0.5):
        kill_family(process)


def clear(root: Path) -> None:
    """End what is left over in a folder whose owner is gone; remove the folder unless it is to be kept."""
    owner = read(root / OWNER)
    end_servers(root)
    if owner.get("temporary"):
        shutil.rmtree(root, ignore_errors=True)


def clear_all(folder: Path) -> None:
    """Clear every temporary folder of ours below ``folder`` whose owner is dead."""
    for root in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            mine = root.is_dir() and not root.is_symlink() and root.stat().st_uid == os.geteuid()
            owner = read(root / OWNER) if mine else {}
            if owner and alive(owner) is None:
                clear(root)


def watch(root: Path, owner: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the watcher: it ends by itself once the owner has gone, or is no longer the one on record."""
    return subprocess.Popen(
        [sys.executable, "-P", __file__, str(root), json.dumps(owner)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_and_clear(root: Path, owner: dict[str, Any]) -> None:
    while alive(owner):
        if not (root / OWNER).exists():
            return
        time.sleep(WATCH_INTERVAL)
    with contextlib.suppress(OSError), (root / LOCK).open("a") as lock:
        # Whoever has the lock is the next owner, and has seen to it already.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        record = read(root / OWNER)
        if record.get("pid") == owner["pid"] and record.get("started") == owner["started"]:
            clear(root)


if __name__ == "__main__":
    _wait_and_clear(Path(sys.argv[1]), json.loads(sys.argv[2]))

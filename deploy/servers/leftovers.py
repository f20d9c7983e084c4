"""Ends private servers when their owner process ends, even if it was killed with SIGKILL.

Every server process is recorded in its folder as (pid, start time), because the kernel may reuse a pid.
Two things read these records: a small watcher process, started with the servers, that waits until the owner ends,
and the next start, which searches for folders of dead owners. Both end exactly the recorded processes and their
children, and remove the folder if it is a temporary one. Folders of other users are ignored.

The watcher runs this file as a script, so the file imports nothing of Tidemark.
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
    """Write a record atomically, readable by its owner only."""
    partial = path.with_name(path.name + ".part")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(fields))
    partial.replace(path)


def read(path: Path) -> dict[str, Any]:
    """The record, or an empty one if there is none."""
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}


def identity(pid: int) -> dict[str, Any]:
    """What distinguishes this process from a later one with the same pid."""
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def alive(record: dict[str, Any]) -> psutil.Process | None:
    """The recorded process, or None if it has ended or its pid has been reused. A zombie counts as ended."""
    try:
        process = psutil.Process(int(record["pid"]))
        if abs(process.create_time() - float(record["started"])) > 0.02 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except (KeyError, TypeError, ValueError, psutil.Error):
        return None
    return process


def process_tree(process: psutil.Process) -> list[psutil.Process]:
    """The process and all its descendants, parents first."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_process_tree(process: psutil.Process) -> None:
    """SIGKILL the process and all its descendants; it is stopped first so that it cannot fork."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.suspend()
    members = process_tree(process)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    wait_for(members, 5)


def wait_for(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until the processes have ended, reaped or not; returns those still running after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while (still := [process for process in processes if _is_running(process)]) and time.monotonic() < deadline:
        time.sleep(0.005)
    return still


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def stop_servers(root: Path) -> None:
    """End every server recorded below ``root``: with its quick signal where it has one, then with SIGKILL."""
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
        kill_process_tree(process)


def clear(root: Path) -> None:
    """End the servers in a folder whose owner has ended; remove the folder if it is a temporary one."""
    owner = read(root / OWNER)
    stop_servers(root)
    if owner.get("temporary"):
        shutil.rmtree(root, ignore_errors=True)


def clear_all(folder: Path) -> None:
    """Clear every temporary folder of this user below ``folder`` whose owner has ended."""
    for root in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            mine = root.is_dir() and not root.is_symlink() and root.stat().st_uid == os.geteuid()
            owner = read(root / OWNER) if mine else {}
            if owner and alive(owner) is None:
                clear(root)


def watch(root: Path, owner: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the watcher, which exits when the owner has ended or is no longer the recorded one."""
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
        # If the lock is taken, the next owner holds it and has already cleared the folder.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        record = read(root / OWNER)
        if record.get("pid") == owner["pid"] and record.get("started") == owner["started"]:
            clear(root)


if __name__ == "__main__":
    _wait_and_clear(Path(sys.argv[1]), json.loads(sys.argv[2]))

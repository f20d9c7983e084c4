"""A disk that is soon full, under some of PostgreSQL's tables: a tablespace on a small file system of its own."""

import asyncio
import os
import pwd
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest

from deploy.servers.postgres import unprivileged_user
from tests.faults.cluster import Cluster
from tests.faults.waiting import fetch

MEGABYTES: Final = 48
NAME: Final = "small_disk"
FOLDER: Final = "tablespace"


class SmallDisk:
    """``fill`` leaves no room at all, ``free`` gives it back."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)


@asynccontextmanager
async def tables_on_a_small_disk(cluster: Cluster, tables: Mapping[str, Sequence[str]]) -> AsyncIterator[SmallDisk]:
    """``tables``: by database, those that are moved there, and back again at the end. Skips where nothing can be mounted."""
    postgres = cluster.private.postgres
    mounted = await asyncio.to_thread(_mount)
    disk = SmallDisk(mounted)
    try:
        await fetch(postgres.admin_url(), f"CREATE TABLESPACE {NAME} LOCATION '{mounted / FOLDER}'")
        for database, names in tables.items():
            await _move(postgres.admin_url(database), names, NAME)
        yield disk
    finally:
        disk.free()
        for database, names in tables.items():
            await _move(postgres.admin_url(database), names, "pg_default")
        await fetch(postgres.admin_url(), "CHECKPOINT")
        await fetch(postgres.admin_url(), f"DROP TABLESPACE {NAME}")
        await asyncio.to_thread(_unmount, mounted)


async def _move(url: str, tables: Sequence[str], to: str) -> None:
    for table in tables:
        await fetch(url, f"ALTER TABLE {table} SET TABLESPACE {to}")


def _mount() -> Path:
    mounted = Path(mkdtemp(prefix="tidemark-disk-", dir="/var/tmp"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0755", "tmpfs", str(mounted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        mounted.rmdir()
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    folder = mounted / FOLDER
    folder.mkdir(mode=0o700)
    account = pwd.getpwnam(unprivileged_user() or "root")
    os.chown(folder, account.pw_uid, account.pw_gid)
    mounted.chmod(0o755)
    return mounted


def _unmount(mounted: Path) -> None:
    # Lazily: sessions keep the files of tables that have moved away open until they look again.
    subprocess.run(["umount", "--lazy", str(mounted)], capture_output=True, timeout=30, check=True)
    mounted.rmdir()

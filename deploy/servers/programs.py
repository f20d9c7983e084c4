"""Finds the programs of PostgreSQL, Redis (or Valkey), RabbitMQ and HAProxy on this machine.

It searches the folder that ``packages`` unpacks into, the PATH, and the usual folders outside the PATH
(Debian's ``/usr/lib/postgresql/<version>/bin``, the ``sbin`` folders, Homebrew). The newest version wins.
"""

import os
import re
import shutil
from pathlib import Path

from deploy.servers.errors import ProgramMissingError

UNPACKED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidemark" / "servers"
"""Where ``packages`` unpacks without the permission to install: private to the user, shared by all checkouts."""

_FOLDERS = ("usr/sbin", "usr/bin", "usr/lib/rabbitmq/bin", "sbin", "bin", "usr/local/sbin", "usr/local/bin")
_POSTGRES_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")


def find(*names: str) -> Path | None:
    """The first of these programs that exists, or None."""
    path = os.pathsep.join(
        [
            *(str(UNPACKED / folder) for folder in _FOLDERS),
            os.environ.get("PATH", os.defpath),
            *(f"/{folder}" for folder in _FOLDERS),
            "/opt/homebrew/bin",
            "/opt/homebrew/sbin",
        ]
    )
    for name in names:
        if found := shutil.which(name, path=path):
            return Path(found)
    return None


def postgres_folder() -> Path:
    """The folder that contains ``initdb`` and ``postgres``. Raises ``ProgramMissingError``."""
    on_path = find("initdb")
    folders = [on_path.resolve().parent] if on_path else []
    for base in (UNPACKED, Path("/")):
        for pattern in _POSTGRES_FOLDERS:
            folders += base.glob(pattern)
    whole = [folder for folder in folders if (folder / "initdb").is_file() and (folder / "postgres").is_file()]
    if not whole:
        raise ProgramMissingError("PostgreSQL's programs (initdb, postgres) are not on this machine")
    return max(whole, key=_version)


def redis_server() -> Path:
    """``redis-server`` or ``valkey-server``. Raises ``ProgramMissingError``."""
    if found := find("redis-server", "valkey-server"):
        return found
    raise ProgramMissingError("neither redis-server nor valkey-server is on this machine")


def rabbitmq_server() -> Path:
    """RabbitMQ's own start script, not the packager's wrapper, which would change user and folder. Raises ``ProgramMissingError``."""
    for base in (UNPACKED, Path("/")):
        direct = base / "usr/lib/rabbitmq/bin/rabbitmq-server"
        if direct.is_file():
            return direct
    return _required("rabbitmq-server")


def haproxy() -> Path:
    """The gateway's program. Raises ``ProgramMissingError``."""
    return _required("haproxy")


def prometheus() -> Path:
    """Raises ``ProgramMissingError``."""
    return _required("prometheus")


def promtool() -> Path:
    """Prometheus's checker of rules, from the same package. Raises ``ProgramMissingError``."""
    return _required("promtool")


def chromium() -> Path:
    """A browser for the console's tests. Raises ``ProgramMissingError``."""
    if found := find("chromium", "chromium-browser", "google-chrome"):
        return found
    raise ProgramMissingError("chromium is not on this machine")


def amtool() -> Path:
    """Alertmanager's checker of its configuration. Raises ``ProgramMissingError``."""
    return _required("amtool")


def alertmanager() -> Path:
    """From the same package, whose name it has in Debian. Raises ``ProgramMissingError``."""
    return find("prometheus-alertmanager") or _required("alertmanager")


def epmd() -> Path:
    """Erlang's port mapper, which every node needs. Raises ``ProgramMissingError``."""
    if found := find("epmd"):
        return found
    for base in (UNPACKED, Path("/")):
        if inside := sorted(base.glob("usr/lib*/erlang/erts-*/bin/epmd")):
            return inside[-1]
    raise ProgramMissingError("Erlang's epmd is not on this machine")


def _required(name: str) -> Path:
    if found := find(name):
        return found
    raise ProgramMissingError(f"{name} is not on this machine")


def environment() -> dict[str, str]:
    """The environment of a server's process: PATH and library folders, none of Tidemark's settings."""
    path = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    env = {"LANG": "C.UTF-8"}
    if UNPACKED.is_dir():
        path = [*(str(UNPACKED / folder) for folder in ("bin", *_FOLDERS)), *path]
        libraries = [UNPACKED / "usr/lib", UNPACKED / "lib"]
        libraries += [folder for folder in UNPACKED.glob("usr/lib/*-linux-gnu*") if folder.is_dir()]
        libraries += [folder for folder in UNPACKED.glob("lib/*-linux-gnu*") if folder.is_dir()]
        env["LD_LIBRARY_PATH"] = os.pathsep.join(str(folder) for folder in libraries if folder.is_dir())
    env["PATH"] = os.pathsep.join(path)
    return env


def _version(folder: Path) -> int:
    found = re.search(r"(?:postgresql/|pgsql-|postgresql@)(\d+)", str(folder))
    return int(found[1]) if found else 0

"""Gets missing programs of PostgreSQL, Redis, RabbitMQ and HAProxy from the system's package manager.

As root they are installed, with every service start prevented and the installed services disabled, so that nothing
takes the default ports. Otherwise the packages and their missing dependencies are downloaded and unpacked into a folder
of the user (``programs.UNPACKED``) and run from there; the system is not changed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy.servers import programs
from deploy.servers.errors import ProgramMissingError

INSTALL_HINT: Final = (
    "install PostgreSQL, Redis (or Valkey) and RabbitMQ, or start a Docker engine, or set the six URLs"
)
NEEDED: Final[dict[str, Callable[[], Path]]] = {
    "postgresql": programs.postgres_folder,
    "redis-server": programs.redis_server,
    "rabbitmq-server": programs.rabbitmq_server,
}
GATEWAY: Final[dict[str, Callable[[], Path]]] = {"haproxy": programs.haproxy}
"""Needed only where the gateway runs."""
MONITORING: Final[dict[str, Callable[[], Path]]] = {"prometheus": programs.prometheus}
"""For ``tidemark up --observe``, and for the tests of the rules."""
BROWSER: Final[dict[str, Callable[[], Path]]] = {"chromium": programs.chromium}
"""For the console's tests."""
ROUTING: Final[dict[str, Callable[[], Path]]] = {"prometheus-alertmanager": programs.amtool}
"""For the test of the alerts' routes."""
SERVICES: Final = (
    "postgresql.service",
    "redis-server.service",
    "rabbitmq-server.service",
    "epmd.socket",
    "epmd.service",
    "haproxy.service",
    "prometheus.service",
    "prometheus-alertmanager.service",
)
POLICY: Final = Path("/usr/sbin/policy-rc.d")
NO_CLUSTER: Final = Path("/etc/postgresql-common/createcluster.d/tidemark.conf")
# The compiler for PostgreSQL's JIT (100 MB), which is disabled in these servers.
NOT_NEEDED: Final = ("libllvm", "libz3")
NON_INTERACTIVE: Final = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
MINUTES: Final = 10


def missing(needed: Mapping[str, Callable[[], Path]] = NEEDED) -> list[str]:
    """The packages whose programs are not installed."""
    absent = []
    for package, find in needed.items():
        try:
            find()
        except ProgramMissingError:
            absent.append(package)
    return absent


def install_missing(needed: Mapping[str, Callable[[], Path]]) -> None:
    """Install or unpack packages if there are any that are missing. Raises ``ProgramMissingError``."""
    if missing(needed):
        install(needed)


def install(needed: Mapping[str, Callable[[], Path]] = NEEDED) -> None:
    """Install or unpack the missing packages. Raises ``ProgramMissingError`` with what to do if that fails."""
    packages = missing(needed)
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise ProgramMissingError(f"{', '.join(packages)} not found, and there is no apt-get here: {INSTALL_HINT}")
    sys.stderr.write(f"tidemark: getting {', '.join(packages)} with apt-get, once\n")
    if os.geteuid() == 0:
        _install_as_root(packages)
    else:
        _unpack(packages)
    if still := missing(needed):
        raise ProgramMissingError(f"{', '.join(still)} not found even after installing: {INSTALL_HINT}")


def _install_as_root(packages: list[str]) -> None:
    with _no_service_starts():
        arguments = ("install", "--yes", "--no-install-recommends", *packages)
        if _run("apt-get", *arguments, check=False) is None:
            # The package lists of a new machine are empty or old.
            _run("apt-get", "update")
            _run("apt-get", *arguments)
    if shutil.which("systemctl"):
        for service in SERVICES:
            _run("systemctl", "disable", service, check=False)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    written = []
    for path, text, mode in (
        (POLICY, "#!/bin/sh\nexit 101\n", 0o755),
        (NO_CLUSTER, "create_main_cluster = false\n", 0o644),
    ):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
            written.append(path)
    try:
        yield
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def _unpack(packages: list[str]) -> None:
    programs.UNPACKED.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=programs.UNPACKED.parent) as name:
        folder = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "packages"):
            (folder / part).mkdir(parents=True)
        apt = [
            "-o",
            f"Dir::State::lists={folder}/lists",
            "-o",
            f"Dir::Cache={folder}/cache",
            "-o",
            "Debug::NoLocking=1",
        ]
        _run("apt-get", *apt, "update")
        plan = _run("apt-get", *apt, "--simulate", "--no-install-recommends", "install", *packages) or ""
        wanted = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
        wanted = [package for package in wanted if not package.startswith(NOT_NEEDED)]
        _run("apt-get", *apt, "download", *wanted, cwd=folder / "packages")
        for archive in sorted((folder / "packages").glob("*.deb")):
            _run("dpkg", "-x", str(archive), str(programs.UNPACKED))
    _move_erlang(programs.UNPACKED / "usr/lib/erlang")


def _move_erlang(root: Path) -> None:
    """Write the unpacked path into Erlang's start script: Debian's contains the path it is packaged for."""
    script = root / "bin/erl"
    if script.is_file():
        script.write_text(script.read_text().replace("ROOTDIR=/usr/lib/erlang", f'ROOTDIR="{root}"'))


def _run(program: str, *arguments: str, cwd: Path | None = None, check: bool = True) -> str | None:
    """The program's standard output; ``None`` if it failed and ``check`` is off. Raises ``ProgramMissingError``."""
    try:
        done = subprocess.run(
            [shutil.which(program) or program, *arguments],
            cwd=cwd,
            env=os.environ | NON_INTERACTIVE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=MINUTES * 60,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramMissingError(f"`{program} {arguments[0]}` took over {MINUTES} minutes: {INSTALL_HINT}") from error
    if done.returncode == 0:
        return done.stdout
    if not check:
        return None
    reason = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
    raise ProgramMissingError(f"`{program} {arguments[0]}` failed ({reason}): {INSTALL_HINT}")

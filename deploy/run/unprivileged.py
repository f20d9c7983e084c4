"""The user that services run as when `tidemark up` runs as root: that of ``sudo``, or ``tidemark``, or ``nobody``, and never root.

Servers have users of their own (``deploy/servers/postgres.py``). Without root everything runs as the current user.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TRIAL_S: Final = 60
TRIAL: Final = """
import sys
from pathlib import Path
import shared.runtime.postgres
(Path(sys.argv[1]) / ".trial").touch()
(Path(sys.argv[1]) / ".trial").unlink()
"""


@dataclass(frozen=True)
class Account:
    """A user of this machine, without further groups."""

    name: str
    uid: int
    gid: int
    home: str

    def options(self) -> dict[str, Any]:
        """What starts a process as this user: arguments of ``subprocess`` and ``asyncio``."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def environ(self) -> dict[str, str]:
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


def account_for_services(runtime_dir: Path) -> Account | None:
    """The user of the services; None: they run as the current user. Says so on stderr if that is root, because no other can run them."""
    if os.geteuid() != 0:
        return None
    account = unprivileged(os.environ)
    problem = problem_of(account, runtime_dir) if account else "there is none"
    if problem is None:
        return account
    name = account.name if account else "a user without privileges"
    print(f"tidemark: WARNING: the services run as root, for {name} cannot run them: {problem}", file=sys.stderr)
    return None


def unprivileged(environ: Mapping[str, str]) -> Account | None:
    """The user for the services of a system that root starts."""
    if (uid := environ.get("SUDO_UID", "")).isdecimal() and int(uid):
        with suppress(KeyError):
            return _account(pwd.getpwuid(int(uid)))
    for name in ("tidemark", "nobody"):
        with suppress(KeyError):
            return _account(pwd.getpwnam(name))
    return None


def problem_of(account: Account, runtime_dir: Path) -> str | None:
    """Why services cannot run as this user, by trying; None: they can. The folder of the health files is made this user's."""
    runtime_dir.mkdir(parents=True, exist_ok=True)
    if runtime_dir.stat().st_uid == 0:
        os.chown(runtime_dir, account.uid, account.gid)
    try:
        done = subprocess.run(
            [sys.executable, "-c", TRIAL, runtime_dir],
            env=dict(os.environ) | account.environ(),
            capture_output=True,
            text=True,
            timeout=TRIAL_S,
            check=False,
            **account.options(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{sys.executable}: {error}"
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def _account(found: pwd.struct_passwd) -> Account:
    return Account(found.pw_name, found.pw_uid, found.pw_gid, found.pw_dir)

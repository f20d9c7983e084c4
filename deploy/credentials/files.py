"""Files with the deployables' URLs, one for each, so that a password can be replaced while they run: made by ``tidemark up``."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.private_file import write_private
from deploy.run.unprivileged import Account as User
from deploy.servers import leftovers
from deploy.servers.accounts.credentials import FILE as STORED
from deploy.servers.accounts.urls import ACCOUNTS, own_setting
from deploy.servers.provide import Servers
from shared.runtime.setting_values import FILE, variable

DATA: Final = "TIDEMARK_PRIVATE_SERVERS"
"""The folder of the private servers, with the passwords that they get at their next start."""


def in_files(servers: Servers, folder: Path, user: User | None = None) -> dict[str, str]:
    """Write each deployable's URLs into files, which only ``user`` may read, by default this one; the variables that name them."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = {}
    for deployable, settings in ACCOUNTS.items():
        for setting in settings:
            own = own_setting(deployable, setting)
            path = folder.absolute() / own
            write_private(path, f"{servers.url(deployable, setting)}\n")
            if user is not None:
                os.chown(path, user.uid, user.gid)
            found[variable(own) + FILE] = str(path)
    return found


def rewrite(urls: Mapping[Path, str]) -> None:
    """Write each URL into its file, in place: the file may be mounted into containers, and keeps its owner and mode."""
    for path, url in urls.items():
        with path.open("r+b") as file:
            file.write(f"{url}\n".encode())
            file.truncate()


def store(user: str, old: str, new: str) -> None:
    """Keep a user's new password where a private server of ``tidemark up`` has its old one, for its next start."""
    folder = os.environ.get(DATA)
    for path in Path(folder).glob(f"*/{STORED}") if folder else ():
        known = leftovers.read(path)
        if known.get(user) == old:
            leftovers.write(path, **{**known, user: new})

"""Passwords of private servers: generated when a data folder is created, and stored only with the data.

They are in a file that only the owner of the folder can read. None is in the repository, and data that are kept
keep their passwords.
"""

import secrets
from pathlib import Path

from deploy.servers import leftovers

FILE = "credentials.json"


def credentials(folder: Path, *names: str) -> dict[str, str]:
    """A password for each name: the stored one where the folder has it, else a new one (URL-safe text)."""
    known = {name: str(value) for name, value in leftovers.read(folder / FILE).items()}
    wanted = {name: known.get(name) or secrets.token_urlsafe(24) for name in names}
    if wanted != known:
        leftovers.write(folder / FILE, **{**known, **wanted})
    return wanted

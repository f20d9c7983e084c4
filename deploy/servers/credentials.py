"""Passwords that a private server is given when its data folder is made, kept with the data and nowhere else.

They are generated, never chosen, and stand in a file that only the owner of the folder may read: nothing of this
kind is in the repository, and data that survive keep theirs.
"""

import secrets
from pathlib import Path

from deploy.servers import leftovers

FILE = "credentials.json"


def credentials(folder: Path, *names: str) -> dict[str, str]:
    """A password for each name: those of the folder where it has them, new ones (URL-safe text) where not."""
    known = {name: str(value) for name, value in leftovers.read(folder / FILE).items()}
    wanted = {name: known.get(name) or secrets.token_urlsafe(24) for name in names}
    if wanted != known:
        leftovers.write(folder / FILE, **{**known, **wanted})
    return wanted

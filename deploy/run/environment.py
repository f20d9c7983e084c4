"""The URLs of a running ``tidemark up``, in a file beside its data, for commands in other terminals.

The file holds passwords that were generated for these servers; only its owner can read it, and it is removed when ``tidemark up`` ends.
A file that remains because ``tidemark up`` was killed is ignored: its first line identifies the process.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.private_file import write_private

if TYPE_CHECKING:
    from shared.runtime.settings import Settings

HOME: Final = Path(".tidemark")
FILE: Final = HOME / "environment"


@contextmanager
def published(variables: Mapping[str, str], path: Path = FILE) -> Iterator[Path]:
    """Write the variables to the file, which exists until the end of the block; a shell can source it."""
    from deploy.servers import leftovers

    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, "".join((f"# {json.dumps(leftovers.identity(os.getpid()))}\n", *lines)))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def running(path: Path = FILE) -> dict[str, str]:
    """The variables of the ``tidemark up`` that runs in this folder; empty if none does."""
    if not path.is_file():
        return {}
    from deploy.servers import leftovers

    first, *lines = path.read_text().splitlines() or [""]
    try:
        owner = json.loads(first.removeprefix("# "))
    except ValueError:
        return {}
    if leftovers.alive(owner) is None:
        return {}
    pairs = (line.removeprefix("export ").partition("=") for line in lines)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs}


def settings(path: Path = FILE) -> "Settings":
    """Settings from the environment; those that are not set there, from a running ``tidemark up`` in this folder.

    ``TIDEMARK_READ_DB_URL`` in the environment stands for all read models in PostgreSQL, here too.
    """
    from shared.read_models import IN_POSTGRES
    from shared.runtime.setting_values import FILE as FROM_FILE
    from shared.runtime.settings import Settings

    found = running(path)
    if os.environ.get("TIDEMARK_READ_DB_URL"):
        for model in IN_POSTGRES:
            found.pop(model.variable, None)
        found.pop("TIDEMARK_PROCESSES_DB_URL", None)
    for name, value in found.items():
        if not os.environ.get(name + FROM_FILE):
            os.environ.setdefault(name, value)
    return Settings()

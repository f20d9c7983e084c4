"""Where the servers of a running ``tidemark up`` are: kept in a file beside their data, for the commands of another terminal.

The file holds passwords that were made for these servers alone; only its owner may read it, and it goes when they go.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.settings import Settings

HOME: Final = Path(".tidemark")
FILE: Final = HOME / "environment"


@contextmanager
def remembered(variables: Mapping[str, str], path: Path = FILE) -> Iterator[Path]:
    """The file is there for the time of the block; a shell can source it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def settings(path: Path = FILE) -> "Settings":
    """Settings from the environment; what it does not name, from a running ``tidemark up`` in this folder."""
    from shared.settings import Settings

    if path.is_file():
        for line in path.read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            os.environ.setdefault(name, shlex.split(value)[0] if value else "")
    return Settings()

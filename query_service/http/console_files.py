"""The console's files: a static page, which the front end's build has written to ``query_service/console``. Read once, at the start.

    /console, and any path below it that is no file    index.html, so that every address of the page can be opened, and asked for again
    /console/assets/…                                   files with a hash of their content in their names: kept by browsers for ever
    /console/config.json                                what the page has to know of its deployment

Nothing of it is secret: the page has no data, and asks for them with its user's credential.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from shared.http.etags import etag
from shared.http.screening.origins import origins

BUILT: Final = Path(__file__).parent.parent / "console"
"""Where the build writes to; part of the package."""
INDEX: Final = "index.html"
ASSETS: Final = "assets/"
CONFIG: Final = "config.json"
FOR_EVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"
MEDIA_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class ConsoleFile:
    """``compressed``: the body in gzip; None: it would not be smaller."""

    body: bytes
    compressed: bytes | None
    media_type: str
    tag: str
    cache_control: str


class ConsoleFiles:
    """``commands``: the origin of the command service, if it is another one than the page's; empty: the gateway serves both.

    ``sign_in``: whether one can sign in with an OpenID provider.
    """

    def __init__(self, folder: Path = BUILT, commands: str = "", *, sign_in: bool = False) -> None:
        """Raises ValueError if ``commands`` is no origin."""
        self.commands = next(iter(origins(commands)), "")
        self._files = _read(folder)
        self._files[CONFIG] = _file(CONFIG, msgspec.json.encode({"commands_url": self.commands, "sign_in": sign_in}))
        self.security_policy: Final = "; ".join(
            (
                *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"),
                *("font-src 'self'", f"connect-src 'self' {self.commands}".rstrip()),
                *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
            )
        )
        """Nothing of another host is loaded, and nothing that stands in the page's text runs."""

    def at(self, path: str) -> ConsoleFile | None:
        """The file at a path below ``/console``; None: there is none, and the page would not know it either."""
        name = path.strip("/")
        if name in self._files or name.startswith(ASSETS):
            return self._files.get(name)
        return self._files.get(INDEX)


def _read(folder: Path) -> dict[str, ConsoleFile]:
    if not folder.is_dir():
        return {}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: _file(name, (folder / name).read_bytes()) for name in names if not name.startswith(".")}


def _file(name: str, body: bytes) -> ConsoleFile:
    compressed = gzip.compress(body, mtime=0)
    return ConsoleFile(
        body,
        compressed if len(compressed) < len(body) else None,
        MEDIA_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream"),
        etag(body),
        FOR_EVER if name.startswith(ASSETS) else ASK_AGAIN,
    )

"""``tidemark archive``: parses what is old, moves it, and says how much it was."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from command_service.archiving.archiver import Archived, ArchiveRunningError, archive
from command_service.domain.aggregates import AGGREGATES
from deploy.cli import screen
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, fail, run, settings
from deploy.cli.write_database import write_database
from shared.contracts.values import Timestamp
from shared.runtime.failpoints import arm
from shared.runtime.postgres import KEY_LOOKUPS, LOCK_TIMEOUT
from shared.runtime.settings import Settings

PROCESS: Final = "archive"
"""Its name in TIDEMARK_FAILPOINT."""

_DAYS: Final = re.compile(r"(\d{1,5})d")
_TIME: Final[TypeAdapter[datetime]] = TypeAdapter(Timestamp)


def run_archive(before: str, kinds: Sequence[str], batch: int, output: Output, *, dry_run: bool) -> Archived:
    """Raises typer.Exit."""
    found = settings()
    moment = parse_before(before, datetime.now(UTC))
    known = sorted(each.kind for each in AGGREGATES)
    if unknown := [kind for kind in kinds if kind not in known]:
        raise fail(f"there is no kind of stream {unknown[0]!r}; there are {', '.join(known)}", WRONG_USE)
    try:
        arm(PROCESS, found.failpoint)
        began = time.monotonic()
        archived = run(_archive(found, moment, kinds, batch, dry_run=dry_run))
    except ArchiveRunningError as error:
        raise fail("another `tidemark archive` is running on this database", NEGATIVE) from error
    _print(archived, moment, time.monotonic() - began, output, dry_run=dry_run)
    return archived


def parse_before(text: str, now: datetime) -> datetime:
    """A time (RFC 3339), a date (midnight UTC), or so many days ago (``90d``). Raises typer.Exit for anything else."""
    if days := _DAYS.fullmatch(text):
        return now - timedelta(days=int(days[1]))
    try:
        return _TIME.validate_python(f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text)
    except ValidationError as error:
        message = (
            f"--before: {text!r} is no date (2026-06-01), no time (2026-06-01T09:30:00Z), and no number of days (90d)"
        )
        raise fail(message, WRONG_USE) from error


async def _archive(
    settings: Settings, before: datetime, kinds: Sequence[str], batch: int, *, dry_run: bool
) -> Archived:
    session = KEY_LOOKUPS | {"lock_timeout": LOCK_TIMEOUT, "application_name": "tidemark archive", "jit": "off"}
    async with write_database(settings, session) as connection:
        return await archive(connection, before, kinds=kinds, batch=batch, dry_run=dry_run)


def _print(found: Archived, before: datetime, seconds: float, output: Output, *, dry_run: bool) -> None:
    if output is Output.JSON:
        document: dict[str, Any] = {
            "before": before.isoformat().replace("+00:00", "Z"),
            "dry_run": dry_run,
            "kinds": {kind: {"streams": each.streams, "events": each.events} for kind, each in found.kinds.items()},
            "events": found.events,
            "unreadable": found.unreadable,
            "seconds": round(seconds, 3),
        }
        screen.print_json(document)
        return
    console = screen.console()
    verb = "would be moved" if dry_run else "moved to the archive"
    if found.kinds:
        table = screen.table("kind", "streams", "events")
        for kind, each in sorted(found.kinds.items()):
            table.add_row(*screen.cells(kind, f"{each.streams:,}", f"{each.events:,}"))
        console.print(table)
    console.print(f"{found.events:,} events from before {screen.format_time(before)} {verb}, in {seconds:.1f} s")
    for stream, why in found.unreadable.items():
        console.print(screen.printable(f"left alone: {stream}, whose state cannot be replayed: {why}"))

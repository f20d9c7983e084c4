"""Tables of letters, groups, jobs and audit entries. The text of a letter is untrusted: markup and control characters are escaped."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from deploy.cli import screen
from deploy.cli.screen import cells, format_time, key_value_table, printable
from shared.views.operations import (
    AuditEntry,
    Done,
    GroupView,
    JobState,
    JobView,
    LetterDetail,
    LetterStatus,
    LetterView,
)

_NUMERIC: Final = ("id", "letters", "waiting", "attempts", "total", "done", "under way", "failed", "skipped")
_STYLES: Final[dict[str, str]] = {
    LetterStatus.DEAD: "red",
    LetterStatus.REPLAYING: "yellow",
    LetterStatus.RESOLVED: "green",
    LetterStatus.DISCARDED: "magenta",
    LetterStatus.SUPERSEDED: "cyan",
    JobState.STOPPED: "red",
    JobState.CANCELLED: "magenta",
    JobState.PAUSED: "yellow",
    JobState.COMPLETED: "green",
}


def groups(found: Sequence[GroupView]) -> Table:
    table = _table("origin", "letters", "waiting", "types", "exception", "first", "last", "like", "group")
    for one in found:
        count = f"{one.count}" + (f" ({one.replaying} replaying)" if one.replaying else "")
        table.add_row(
            *cells(one.origin, count, one.waiting, ", ".join(one.types), f"{one.reason}: {one.exception}"),
            *cells(format_time(one.first_failed_at), format_time(one.last_failed_at), one.example, one.fingerprint),
        )
    return table


def letters(found: Sequence[LetterView]) -> Table:
    table = _table("id", "status", "origin", "stream", "type", "exception", "attempts", "waiting", "last failed")
    for one in found:
        status = Text(one.status + (", discard asked" if one.discarding else ""), _STYLES.get(one.status, ""))
        table.add_row(
            *cells(one.id),
            status,
            *cells(one.origin, subject(one.stream, one.version, one.command_id), one.type),
            *cells(f"{one.reason}: {one.exception}", one.attempts, one.waiting, format_time(one.last_failed_at)),
        )
    return table


def letter(one: LetterDetail) -> Iterable[Table | Text]:
    """Everything about a letter: attributes, failures, stack trace, headers, body."""
    known = key_value_table(
        ("letter", one.id),
        ("status", f"{one.status} {one.resolution or ''}".strip()),
        ("origin", one.origin),
        ("what", subject(one.stream, one.version, one.command_id)),
        ("type", one.type),
        ("reason", one.reason),
        ("exception", one.exception),
        ("group", one.fingerprint),
        ("attempts", one.attempts),
        ("first failed", format_time(one.first_failed_at)),
        ("last failed", format_time(one.last_failed_at)),
        ("waiting behind it", one.waiting),
        ("trace id", one.trace_id),
        ("instead of letter", one.replaces),
        ("sent instead", one.replaced_by),
        ("routing key", one.routing_key),
        ("content type", one.content_type),
        ("size", f"{one.size} bytes"),
    )
    yield known
    if one.edited:
        edited = _table("command sent instead", "type", "by", "why", "when")
        for command in one.edited:
            edited.add_row(
                *cells(command.command_id, command.type, command.actor, command.reason, format_time(command.created_at))
            )
        yield edited
    failures = _table("failed", "attempts", "reason", "exception")
    for failure in one.failures:
        failures.add_row(*cells(format_time(failure.failed_at), failure.attempts, failure.reason, failure.exception))
    yield failures
    for title, text in (("trace", one.trace), ("headers", json.dumps(one.headers, indent=2)), ("body", one.body)):
        if text:
            yield Text(f"\n{title}", "bold")
            yield Text(printable(text, 100_000, lines=True))


def jobs(found: Sequence[JobView]) -> Table:
    table = _table("job", "state", "total", "done", "under way", "failed", "skipped", "by", "reason", "created")
    for one in found:
        table.add_row(
            *cells(one.id),
            Text(one.state, _STYLES.get(one.state, "")),
            *cells(one.total, one.succeeded, one.under_way, one.failed, one.skipped),
            *cells(one.actor, one.reason, format_time(one.created_at)),
        )
    return table


def job(one: JobView, failed: Sequence[dict[str, Any]]) -> Iterable[Table | Text]:
    yield key_value_table(
        ("job", one.id),
        ("state", f"{one.state}: {one.why}" if one.why else one.state),
        ("letters", one.total),
        ("queued", one.queued),
        ("under way", one.under_way),
        ("succeeded", one.succeeded),
        ("failed", f"{one.failed}, {one.same} as before" if one.failed else 0),
        ("skipped", one.skipped),
        ("selection", json.dumps(one.selection)),
        ("rate", one.rate if one.rate is not None else "as fast as they are answered"),
        ("canary", one.canary or "none"),
        (
            "ramp",
            f"{', '.join(f'{step} %' for step in one.ramp)}; now up to letter {one.up_to}" if one.ramp else "none",
        ),
        ("concurrency", one.concurrency),
        ("stops after", one.stop_after if one.stop_after is not None else "never"),
        ("by", one.actor),
        ("reason", one.reason),
        ("created", format_time(one.created_at)),
        ("finished", format_time(one.finished_at)),
    )
    if failed:
        table = _table("failed letter", "how")
        for item in failed:
            table.add_row(*cells(item["letter_id"], item["outcome"]))
        yield table


def audit(found: Sequence[AuditEntry]) -> Table:
    table = _table("at", "actor", "act", "letter", "job", "projection", "reason", "details")
    for one in found:
        table.add_row(
            *cells(format_time(one.at), one.actor, one.act, one.letter_id, one.job_id, one.projection),
            *cells(one.reason, json.dumps(one.details)),
        )
    return table


def preview(done: Done) -> Table:
    """The first letters that an action affects."""
    table = _table("id", "origin", "stream", "type", "exception", "attempts", "last failed")
    for one in done.letters:
        table.add_row(
            *cells(one.id, one.origin, subject(one.stream, one.version, one.command_id), one.type, one.exception),
            *cells(one.attempts, format_time(one.last_failed_at)),
        )
    return table


def subject(stream: str | None, version: int | None, command_id: str | None) -> str:
    """The letter's stream and version, or its command."""
    if stream is not None:
        return stream if version is None else f"{stream} @{version}"
    return f"command {command_id}" if command_id else "(belongs to no stream)"


def _table(*columns: str) -> Table:
    return screen.table(*columns, numeric=_NUMERIC)

"""``tidemark audit``: who did what, when and why, and whether that is still what was recorded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from deploy.cli import operator_options, screen
from deploy.cli.audit.chain import Anchor, ChainReport, verify_chain
from deploy.cli.dead_letters import options, tables
from deploy.cli.dead_letters.store import open_operations_database
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from shared.contracts.values import Timestamp
from shared.views.operations import AuditEntry
from shared.views.operations_queries import MAX_ID, AuditFilter, AuditKind

app = typer.Typer(
    help="""Who did what, when and why: operators' acts, changes of keys, denials, erasures.

    Entries are only added, and each is chained to the one before it by a hash.

    \b
    tidemark audit list --actor ann --from 7d
    tidemark audit list --act denied
    tidemark audit verify
    tidemark audit verify --since 1042:9f2c…    (an anchor that an earlier verification has printed)
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class _Time(BaseModel):
    time: Timestamp


@app.command("list")
def list_(
    actor: Annotated[str | None, typer.Option(help="Only what this operator or identity did.")] = None,
    act: Annotated[
        str | None, typer.Option(help="Only replay, discard, edit, rebuild, activate, denied, and the like.")
    ] = None,
    kind: Annotated[AuditKind | None, typer.Option(help="Only acts, deployments, alerts, epochs, or denials.")] = None,
    projection: Annotated[
        list[str] | None,
        typer.Option(help="Only acts on this projection, process manager, or `commands`; may be repeated."),
    ] = None,
    letter: Annotated[int | None, typer.Option(min=1, help="Only what was done to this letter.")] = None,
    job: Annotated[int | None, typer.Option(min=1, help="Only what was done with this job.")] = None,
    request: Annotated[str | None, typer.Option(help="Only what this request did, by its id.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="At this time or later: 2026-03-01, 2026-03-01T09:30:00Z, or 90m, 2h, 3d ago."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """The latest first. What other processes report appears after a short delay; denials are counted by the minute.

    \b
    tidemark audit list --kind denial --from 1d
    tidemark audit list --projection summary --projection fulfilment
    """
    for name, number in (("--letter", letter), ("--job", job)):
        if number is not None and number > MAX_ID:
            raise fail(f"{name}: there is no such number", WRONG_USE)
    texts = [
        ("--actor", actor),
        ("--act", act),
        ("--request", request),
        *(("--projection", one) for one in projection or ()),
    ]
    for name, text in texts:
        options.require_storable(name, text)
    chosen = AuditFilter(
        letter_id=letter,
        job_id=job,
        actor=actor,
        act=act,
        kind=kind,
        projections=tuple(projection) if projection else None,
        request_id=request,
        at_from=_time("--from", since),
        at_to=_time("--to", until),
    )
    show(chosen, limit, output)


def _time(option: str, given: str | None) -> datetime | None:
    text = options.parse_time(given)
    return None if text is None else operator_options.validated(_Time, {"time": text}, {"time": option}).time


def show(chosen: AuditFilter, limit: int, output: Output) -> None:
    """Print the entries that match; also for `dead-letters audit` and `projections audit`."""

    async def read() -> Sequence[AuditEntry]:
        async with open_operations_database(settings()) as database:
            return await database.audit(chosen, limit)

    found = run(read())
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in found]})
        return
    screen.console().print(tables.audit(found) if found else "nothing has been done")


@app.command()
def verify(
    since: Annotated[
        str | None,
        typer.Option(metavar="NUMBER:HASH", help="An anchor of an earlier verification: finds a cut-off end too."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compute every hash again, and name the first row that differs, a missing row, or a cut-off end. Exit code 0: intact, 1: not.

    The last line is the anchor of the last row. Note it outside the database: the owner of the database can cut off its end, or
    compute all hashes anew, and only an anchor shows that.

    \b
    tidemark audit verify
    tidemark audit verify --since "$(cat anchor)" --output json
    """
    try:
        anchor = None if since is None else Anchor.parse(since.strip())
    except ValueError as error:
        raise fail(f"--since: {error}", WRONG_USE) from error

    async def read() -> ChainReport:
        async with open_operations_database(settings()) as database:
            return await database.read(lambda connection: verify_chain(connection, anchor))

    report = run(read())
    if output is Output.JSON:
        screen.print_json(report)
    else:
        for line in _lines(report):
            screen.console().print(screen.printable(line, 1000))
    raise typer.Exit(0 if report.intact else NEGATIVE)


def _lines(report: ChainReport) -> list[str]:
    pruned = f"; retention has cut off rows 1 to {report.pruned}" if report.pruned else ""
    since = f", and what it was at anchor {report.since.partition(':')[0]}" if report.since else ""
    if report.intact:
        return [
            f"the audit is intact: {report.rows} rows, each as it was recorded{since}{pruned}",
            f"anchor {report.anchor}",
        ]
    more = report.found - len(report.findings)
    return [
        f"the audit was changed ({report.rows} rows{pruned}):",
        *(f"  row {one.number}: {one.message}" for one in report.findings),
        *([f"  and {more} more"] if more > 0 else []),
    ]

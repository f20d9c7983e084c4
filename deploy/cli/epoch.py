"""``tidemark epoch``: shows the write database's epochs, and begins one after a restore that the database cannot detect."""

from typing import Annotated, Any

import typer
from pydantic import BaseModel, Field

from command_service.handling import epochs
from deploy.cli import operator_options, screen
from deploy.cli.terminal import Output, OutputOption, run, settings
from deploy.cli.write_database import write_database
from shared.contracts.values import Actor
from shared.messages.control import Reason
from shared.runtime.settings import Settings

EPOCHS = "SELECT number, epoch, begun_at, reason, actor, timeline FROM epochs ORDER BY number DESC"

app = typer.Typer(
    help="""Epochs of the write database: within one, a stream's version never means two things.

    A restored, promoted or copied database begins a new one by itself. Projections that receive it compare their versions with
    the database's: if nothing was lost they continue; otherwise they stop, and report it.
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class _New(BaseModel):
    reason: Annotated[Reason, Field(min_length=1)]
    actor: Actor


@app.command()
def show(output: OutputOption = Output.TABLE) -> None:
    """All epochs of this database, the current one first."""
    _print(run(_epochs(settings())), output)


@app.command()
def new(
    reason: Annotated[str, typer.Option(help="The reason; it is kept.")],
    actor: operator_options.ActorOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Begin a new epoch, after a data folder was copied back, which the database cannot detect. Best while no worker runs.

    \b
    tidemark epoch new --reason "disk restored from the snapshot of Monday"
    """
    act = operator_options.validated(_New, {"reason": reason.strip(), "actor": operator_options.actor_name(actor)})
    _print(run(_begin(settings(), act)), output)


async def _epochs(settings: Settings) -> list[dict[str, Any]]:
    async with write_database(settings) as connection:
        return [dict(row) for row in await connection.fetch(EPOCHS)]


async def _begin(settings: Settings, act: _New) -> list[dict[str, Any]]:
    async with write_database(settings) as connection:
        await epochs.begin(connection, act.reason, act.actor)
        return [dict(row) for row in await connection.fetch(EPOCHS)]


def _print(found: list[dict[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        screen.print_json({"items": found})
        return
    table = screen.table("number", "epoch", "begun", "timeline", "by", "reason")
    for one in found:
        begun = screen.format_time(one["begun_at"])
        table.add_row(
            *screen.cells(one["number"], one["epoch"], begun, one["timeline"], one["actor"] or "", one["reason"])
        )
    screen.console().print(table if found else "no epoch has begun: no worker and no relay has run yet")

"""``tidemark projections``: the generations of the read models. The commands that look; those that act are in ``acting``."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from deploy.cli import screen
from deploy.cli.dead_letters.commands import show_audit
from deploy.cli.dead_letters.store import opened as operations
from deploy.cli.projections import acting, choosing, tables
from deploy.cli.terminal import AWAY, NO, Output, OutputOption, fail, run, settings
from deploy.compare.comparison import Comparison
from deploy.compare.stores import GenerationGoneError, StoreUnavailableError, opened
from shared.messaging.topology import PROJECTORS
from shared.runtime.settings import Settings
from shared.views.operations import AuditEntry

app = typer.Typer(
    help="""Read models, and rebuilding them while they are in use.

    A generation is a build of a projection, in a schema or under a key prefix of its own.
    One is active: queries are answered from it. All follow live events, so there is a way back at any time.

    From a fix in a projection's code to its new read model, usually:

    \b
      (deploy the new code; tidemark migrate)
      tidemark projections rebuild summary         a new one, from history
      tidemark projections compare summary         row by row, with the active
      tidemark projections activate summary        queries see it from now on
      tidemark projections rollback summary        should that be a mistake
      tidemark projections drop summary 1          the old one, one day
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def status(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A projection; all of them if left out.", show_default=False),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Every generation of every projection: which is active, how far each has come. Exit code 3 when a store is away.

    Lag is the age of the latest moment up to which everything is in the generation, or held. It is not said of one that
    is still being built.

    \b
    tidemark projections status
    tidemark projections status search --output json
    """
    names = PROJECTORS if name is None else (choosing.projection(name),)
    found, errors = run(_statuses(settings(), names))
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in found], "errors": errors})
    elif found:
        screen.console().print(tables.statuses(found))
        for line in tables.troubles(found):
            screen.console().print(screen.shown(line, 1000), style="bold red")
    if errors:
        raise fail("; ".join(f"{one['projection']}: {one['error']}" for one in errors), AWAY)


@app.command()
def compare(
    name: choosing.Name,
    generation: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=choosing.MAX_GENERATION,
            help="Which one; the newest that is ready and not active if left out.",
        ),
    ] = None,
    against: Annotated[
        int | None,
        typer.Option(
            "--with",
            min=1,
            max=choosing.MAX_GENERATION,
            help="Which one to hold it against; the active one if left out.",
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, max=1000, help="Most differing rows shown of each table or kind of key.")
    ] = 5,
    output: OutputOption = Output.TABLE,
) -> None:
    """Hold one generation against another, row by row, while events go on arriving. Exit code 0: equal, 1: different.

    PostgreSQL compares tables by counts and digests, and row by row where these differ; Redis every member of every key.
    Columns and tables that only one has (the code changed) are named; what both have is compared.
    A row is different only if it is so while both generations stand at the same versions.
    Missing: only the other has it. Extra: only this one has it.
    Undecided, moving: it never stood still; compare again when it is quieter.

    \b
    tidemark projections compare summary
    tidemark projections compare analytics --generation 3 --with 2
    tidemark projections compare search --sample 20 --output json
    """
    chosen = settings()
    found = run(compared(chosen, choosing.projection(name), generation, against, sample))
    if output is Output.JSON:
        screen.print_json(found)
    else:
        for part in tables.comparison(found):
            screen.console().print(part)
    raise typer.Exit(0 if found.equal else NO)


@app.command()
def audit(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A projection; all of them if left out.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Who rebuilt, activated, rolled back, adopted or dropped what, when and why, the latest first. Kept for ever.

    A moment may pass until an act is there: the dead-letter worker writes it down. `tidemark dead-letters audit` has these as well.

    \b
    tidemark projections audit summary
    """
    names = PROJECTORS if name is None else (choosing.projection(name),)

    async def read() -> list[AuditEntry]:
        async with operations(settings()) as database:
            return await database.audit(limit, projections=names)

    show_audit(run(read()), output)


async def compared(
    settings: Settings, name: str, generation: int | None, against: int | None, sample: int
) -> Comparison:
    """Raises typer.Exit where there are no such two generations, StoreAwayError."""
    began = time.monotonic()
    async with opened(settings, name) as store:
        one, other = choosing.pair(name, await store.generations(), generation, against)
        try:
            found = await store.compare(one.number, other.number, sample)
        except GenerationGoneError as error:
            raise fail(f"{name}: a generation has gone meanwhile: {error}", NO) from error
    return Comparison(
        **dict(found),
        projection=name,
        generations=(one.number, other.number),
        seconds=round(time.monotonic() - began, 3),
    )


async def _statuses(settings: Settings, names: Sequence[str]) -> tuple[list[tables.Status], list[dict[str, str]]]:
    """What is known of each, and of which stores nothing is."""
    found, errors = [], []
    for name in names:
        try:
            async with opened(settings, name) as store:
                for one in await store.generations():
                    progress = await store.progress(one.number)
                    found.append(tables.status_of(name, one, progress, datetime.now(UTC)))
        except StoreUnavailableError as error:
            errors.append({"projection": name, "error": str(error)})
    return found, errors


app.command()(acting.rebuild)
app.command()(acting.activate)
app.command()(acting.rollback)
app.command("adopt-epoch")(acting.adopt_epoch)
app.command()(acting.drop)

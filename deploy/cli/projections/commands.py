"""``tidemark projections``: the commands that only read generations; those that change something are in ``actions``."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from deploy.cli import screen
from deploy.cli.audit.commands import show
from deploy.cli.projections import actions, generation_choice, tables
from deploy.cli.terminal import NEGATIVE, UNAVAILABLE, Output, OutputOption, fail, run, settings
from deploy.compare.comparison import Comparison
from deploy.compare.stores import GenerationGoneError, StoreUnavailableError, open_store
from shared.messaging.topology import PROJECTORS
from shared.runtime.settings import Settings
from shared.views.operations_queries import AuditFilter

app = typer.Typer(
    help="""Read models, and rebuilding them while they are in use.

    A generation is a build of a projection, in a schema or under a key prefix of its own.
    One is active: queries are answered from it. All follow live events, so there is a way back at any time.

    The usual steps after a fix in a projection's code:

    \b
      (deploy the new code; tidemark migrate)
      tidemark projections rebuild summary         a new one, from history
      tidemark projections compare summary         row by row, with the active
      tidemark projections activate summary        queries read it from now on
      tidemark projections rollback summary        if that was a mistake
      tidemark projections drop summary 1          the old one, later
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
    """Every generation of every projection: state and progress. Exit code 3 when a store is unavailable.

    Lag is the age of the latest moment up to which every event is applied or held. It is not shown for a generation
    that is still being built.

    \b
    tidemark projections status
    tidemark projections status search --output json
    """
    names = PROJECTORS if name is None else (generation_choice.projection(name),)
    found, errors = run(_statuses(settings(), names))
    if output is Output.JSON:
        screen.print_json({"items": [one.model_dump(mode="json") for one in found], "errors": errors})
    elif found:
        screen.console().print(tables.statuses(found))
        for line in tables.problems(found):
            screen.console().print(screen.printable(line, 1000), style="bold red")
    if errors:
        raise fail("; ".join(f"{one['projection']}: {one['error']}" for one in errors), UNAVAILABLE)


@app.command()
def compare(
    name: generation_choice.Name,
    generation: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=generation_choice.MAX_GENERATION,
            help="Which one; the newest that is ready and not active if left out.",
        ),
    ] = None,
    against: Annotated[
        int | None,
        typer.Option(
            "--with",
            min=1,
            max=generation_choice.MAX_GENERATION,
            help="The generation to compare it with; the active one if left out.",
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, max=1000, help="Maximum of differing rows shown per table or kind of key.")
    ] = 5,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare two generations, row by row, while events keep arriving. Exit code 0: equal, 1: different.

    In PostgreSQL, tables are compared by counts and digests, and row by row where these differ; in Redis, every member of every key.
    Columns and tables that only one has (the code changed) are named; those that both have are compared.
    Positions are compared for the kinds of stream that the projection reads and both generations have.
    A row counts as different only while both generations are at the same versions.
    Missing: only the other has it. Extra: only this one has it.
    Undecided, moving: it kept changing during the comparison; compare again at a quieter time.

    \b
    tidemark projections compare summary
    tidemark projections compare analytics --generation 3 --with 2
    tidemark projections compare search --sample 20 --output json
    """
    chosen = settings()
    found = run(compare_generations(chosen, generation_choice.projection(name), generation, against, sample))
    if output is Output.JSON:
        screen.print_json(found)
    else:
        for part in tables.comparison(found):
            screen.console().print(part)
    raise typer.Exit(0 if found.equal else NEGATIVE)


@app.command()
def audit(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A projection; all of them if left out.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Who rebuilt, activated, rolled back, adopted or dropped what, when and why, the latest first. Kept permanently.

    An action appears after a short delay: the dead-letter worker records it. `tidemark audit list` shows all that was done.

    \b
    tidemark projections audit summary
    """
    names = PROJECTORS if name is None else (generation_choice.projection(name),)
    show(AuditFilter(projections=tuple(names)), limit, output)


async def compare_generations(
    settings: Settings, name: str, generation: int | None, against: int | None, sample: int
) -> Comparison:
    """The comparison. Raises typer.Exit if a generation does not exist or is not ready; StoreUnavailableError."""
    began = time.monotonic()
    async with open_store(settings, name) as store:
        one, other = generation_choice.pair(name, await store.generations(), generation, against)
        try:
            found = await store.compare(
                one.number, other.number, sample, generation_choice.kinds_of_both(name, one, other)
            )
        except GenerationGoneError as error:
            raise fail(f"{name}: a generation has gone meanwhile: {error}", NEGATIVE) from error
    return Comparison(
        **dict(found),
        projection=name,
        generations=(one.number, other.number),
        seconds=round(time.monotonic() - began, 3),
    )


async def _statuses(settings: Settings, names: Sequence[str]) -> tuple[list[tables.Status], list[dict[str, str]]]:
    """The status of every generation, and an error for every store that is unavailable."""
    found, errors = [], []
    for name in names:
        try:
            async with open_store(settings, name) as store:
                for one in await store.generations():
                    progress = await store.progress(one.number)
                    found.append(tables.status_of(name, one, progress, datetime.now(UTC)))
        except StoreUnavailableError as error:
            errors.append({"projection": name, "error": str(error)})
    return found, errors


app.command()(actions.rebuild)
app.command()(actions.activate)
app.command()(actions.rollback)
app.command("adopt-epoch")(actions.adopt_epoch)
app.command()(actions.drop)

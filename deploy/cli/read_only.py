"""``tidemark read-only``: forbid operators' acts over HTTP for a time, and allow them again."""

from typing import Annotated

import typer

from deploy.cli import operator_options, screen
from deploy.cli.dead_letters.control_requests import send_request
from deploy.cli.dead_letters.store import open_operations_database
from deploy.cli.terminal import Output, OutputOption, run, settings
from shared.messages.operator_requests import ForbidActs
from shared.views.operations import ReadOnlyView

app = typer.Typer(
    help="""Whether operators may act over HTTP. While they may not, each act is refused with `read-only`.

    The command line is not bound by it: it is the way out.
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
)
Why = Annotated[str, typer.Option(help="The reason; it is kept, and shown to who is refused.")]


@app.command()
def show(output: OutputOption = Output.TABLE) -> None:
    """Whether acts are forbidden now, since when, by whom and why."""

    async def read() -> ReadOnlyView:
        async with open_operations_database(settings()) as database:
            return await database.read_only()

    found = run(read())
    if output is Output.JSON:
        screen.print_json(found)
        return
    since = f" since {screen.format_time(found.since)} by {screen.printable(found.by)}" if found.since else ""
    why = f": {screen.printable(found.reason)}" if found.reason else ""
    screen.console().print(f"acts over HTTP are {'forbidden' if found.on else 'allowed'}{since}{why}")


@app.command()
def on(reason: Why, actor: operator_options.ActorOption = None) -> None:
    """Forbid them.

    \b
    tidemark read-only on --reason "the databases are being moved"
    """
    _set(True, reason, actor)


@app.command()
def off(reason: Why, actor: operator_options.ActorOption = None) -> None:
    """Allow them again."""
    _set(False, reason, actor)


def _set(forbidden: bool, reason: str, actor: str | None) -> None:
    given = {"on": forbidden, "reason": reason, "actor": operator_options.actor_name(actor)}
    run(send_request(settings(), operator_options.validated(ForbidActs, given), request_id=None, seconds=10.0))
    screen.console().print(f"acts over HTTP are {'forbidden' if forbidden else 'allowed'}")

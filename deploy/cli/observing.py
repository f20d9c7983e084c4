"""``tidemark status`` and ``tidemark top``: how the running system is."""

from typing import Annotated

import typer

from deploy.cli.terminal import UNAVAILABLE, WRONG_USE, Output, OutputOption, fail, settings


def status(output: OutputOption = Output.TABLE) -> None:
    """Whether anything is lost, held, late or stopped, on one screen, and what to type next. Exit code 0: all is well, 1: it is not.

    It asks the query service, the command service and the databases; what does not answer is named, and counts as not well.
    """
    from deploy.observability.status.command import run_status

    raise typer.Exit(0 if run_status(settings(), output) else 1)


def top(
    targets: Annotated[
        str | None,
        typer.Option(help="Where the processes serve their metrics: worker=host:port,… [TIDEMARK_METRICS_TARGETS]"),
    ] = None,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between readings.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one reading; so it does where the output is no terminal.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Rates, lag, held streams, dead letters and CPU of every process, until Ctrl-C. Exit code 1: a process does not answer."""
    from deploy.observability.top.command import run_top
    from shared.observability.targets import parse

    try:
        found = parse(settings().metrics_targets if targets is None else targets)
    except ValueError as error:
        raise fail(str(error), WRONG_USE) from error
    if not found:
        raise fail("no process is known: run this where `tidemark up` runs, or name --targets", UNAVAILABLE)
    raise typer.Exit(0 if run_top(found, every, output, once=once) else 1)

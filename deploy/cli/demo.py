"""``tidemark demo``: real data through the whole system. Without a name, the shop's."""

from typing import Annotated

import typer

from deploy.cli.terminal import Output, OutputOption

app = typer.Typer(no_args_is_help=False, invoke_without_command=True)


@app.callback()
def shop(
    context: typer.Context,
    orders: Annotated[int, typer.Option(min=1, help="How many baskets to load.")] = 5000,
    all_orders: Annotated[bool, typer.Option("--all", help="All 155,848 baskets of the year.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run a year of a grocery chain through the whole system and compare every store with the source, to the cent."""
    if context.invoked_subcommand is not None:
        return
    from deploy.demo.shop.command import demo

    raise typer.Exit(demo(orders, all_orders, output.value))


@app.command()
def bookings(
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="How many rounds of about 350 commands.")] = 30,
    output: OutputOption = Output.TABLE,
) -> None:
    """A doctor's practice on days of 23 and 25 hours, compared with a plain model of it: double bookings, moves, renames, free times."""
    from deploy.demo.bookings.command import demo

    raise typer.Exit(demo(rounds, output.value))


@app.command()
def devices(
    whole_year: Annotated[bool, typer.Option("--all", help="All 211,061 readings of the year.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run hourly weather at three airports through the whole system, shuffled and in part twice, and compare to the last digit.

    Without --all, the first quarter of the year.
    """
    from deploy.demo.devices.command import demo

    raise typer.Exit(demo(whole_year, output.value))

"""``tidemark drill``: failure procedures, practised on a separate system."""

from typing import Annotated

import typer

from deploy.cli.terminal import WRONG_USE, Output, OutputOption, fail, run

app = typer.Typer(help="Practise failure procedures on a separate system.", no_args_is_help=True)


@app.callback()
def drill() -> None:
    """Practise failure procedures on a separate system."""


@app.command()
def poison(orders: Annotated[int, typer.Option(min=200, help="How many baskets to load.")] = 1000) -> None:
    """A projection fails on one stream in a hundred: see the dead letters, deploy the fix, replay with a canary, compare."""
    from rich.console import Console

    from deploy.demo.command import FAILURES
    from deploy.demo.display import open_display
    from deploy.demo.shop.report import show
    from deploy.drills.poison import DrillFailedError
    from deploy.drills.poison import poison as run_drill
    from deploy.servers.provide import provide

    console = Console()
    try:
        with open_display() as display, provide() as servers:
            report = run(run_drill(servers, orders, display, console))
    except (*FAILURES, DrillFailedError) as error:
        raise fail(str(error), 1) from error
    show(report, console)
    raise typer.Exit(0 if report.equal else 1)


@app.command()
def rebuild(
    orders: Annotated[int, typer.Option(min=200, help="How many baskets to load first.")] = 2000,
    all_orders: Annotated[bool, typer.Option("--all", help="All 155,848 baskets of the year.")] = False,
    live: Annotated[float, typer.Option(min=0.1, max=200, help="Live orders a second meanwhile.")] = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Rebuild, compare, activate, roll back and activate every read model while orders arrive and dashboards query.

    Exit code 0: no query failed or changed its answer, every order was visible to queries with its consistency token,
    and the generations are equal row by row.
    """
    from deploy.drills.rebuild.command import rebuild as run_drill

    raise typer.Exit(run_drill(None if all_orders else orders, live, output.value))


@app.command()
def alerts(
    fault: Annotated[
        list[str] | None,
        typer.Option(help="One of redis, postgres, rabbitmq, relay, poison; several times for several."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Freeze stores, kill the relay, poison an event: does the right alert fire within 2 minutes, and end within 2 after the mend?

    In a Prometheus of its own with every rule; all five faults take a quarter of an hour. Exit code 0: every alert did.
    """
    from deploy.drills.alerts.command import alerts as run_drill
    from deploy.drills.alerts.faults import BY_NAME

    if unknown := [name for name in fault or () if name not in BY_NAME]:
        raise fail(f"there is no fault {unknown[0]!r}; there are {', '.join(BY_NAME)}", WRONG_USE)
    raise typer.Exit(run_drill(fault or (), output))


@app.command()
def fulfilment(
    orders: Annotated[int, typer.Option(min=10, max=200_000, help="How many managed orders to place.")] = 10_000,
    kills: Annotated[int, typer.Option(min=0, max=1000, help="How many processes and servers to kill, in turn.")] = 22,
    kill_every: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds between two kills.")] = 6.0,
    pay_within: Annotated[
        float, typer.Option(min=2, max=3600, help="Seconds that an order waits for its payment.")
    ] = 200.0,
    out_of_stock: Annotated[float, typer.Option(min=0, max=1, help="Share of orders that cannot be reserved.")] = 0.1,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of payments that come too late.")] = 0.1,
    failed: Annotated[float, typer.Option(min=0, max=1, help="Share of payments that fail.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Chooses which orders and payments these are.")] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Managed orders, some out of stock, some paid late or not at all, while every process and server is killed.

    Exit code 0: every order was fulfilled or cancelled, no fulfilment is stuck, every store equals the event store, and every
    conservation law holds.
    """
    from deploy.drills.fulfilment.command import fulfilment as run_drill
    from deploy.drills.fulfilment.drill import Conditions
    from deploy.drills.fulfilment.plan import Plan

    plan = Plan(orders, out_of_stock, changed_minds=0.05, seed=seed)
    conditions = Conditions(
        plan=plan, kills=kills, kill_every_s=kill_every, pay_within_s=pay_within, late_share=late, failed_share=failed
    )
    raise typer.Exit(run_drill(conditions, output))

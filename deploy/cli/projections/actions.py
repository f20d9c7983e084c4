"""Rebuild, activate, rollback, adopt-epoch, drop: the commands that change something. Each records actor and reason."""

from typing import Annotated

import typer

from deploy.cli import operator_options, screen
from deploy.cli.projections import generation_choice, tables
from deploy.cli.projections.control_requests import send_request, send_request_or_exit
from deploy.cli.projections.following import follow
from deploy.cli.terminal import NEGATIVE, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.compare.stores import open_store
from shared.messages.control import Activate, AdoptEpoch, Drop, Rebuild, Rollback
from shared.messaging.operators.generations_client import UNDER_WAY_CODE
from shared.messaging.topology import PROJECTORS
from shared.runtime.settings import Settings
from shared.views.generations import (
    Generation,
    GenerationRefused,
    GenerationsChanged,
    GenerationState,
    next_free,
)

Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the projector's answer.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def rebuild(
    name: generation_choice.NameOrAll,
    rate: Annotated[
        float | None, typer.Option(help="Maximum of history events per second; otherwise as fast as live events allow.")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Begin it, but do not follow it.")] = False,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Build a new generation from history, beside the active one, and follow it until it is ready. Nothing else changes.

    Live events are applied meanwhile, with priority.
    The rebuild resumes after any crash; Ctrl-C ends this command, not the rebuild.
    While a rebuild is under way, this command follows it. Exit code 0: it is ready.

    \b
    tidemark projections rebuild summary
    tidemark projections rebuild all --rate 5000
    tidemark projections rebuild search --no-wait --reason "fixed in 1.4.2"
    """
    names = PROJECTORS if name == generation_choice.ALL else (generation_choice.projection(name),)
    chosen, who = settings(), operator_options.actor_name(actor)
    if no_wait and len(names) > 1:
        raise fail("all are rebuilt one after the other: --no-wait requires a single projection", WRONG_USE)
    found = []
    for each in names:
        act = operator_options.validated(
            Rebuild, {"projection": each, "generation": 2, "rate": rate, "actor": who, "reason": reason}
        )
        one = run(begin_rebuild(chosen, act, seconds=timeout))
        found.append(one if no_wait else _follow_rebuild(chosen, each, one.number))
        if output is not Output.JSON:
            screen.console().print(_begun_message(each, one) if no_wait else _ready_message(each, found[-1]))
    if output is Output.JSON:
        documents = [
            {"projection": each, **one.model_dump(mode="json")} for each, one in zip(names, found, strict=True)
        ]
        screen.print_json({"items": documents} if name == generation_choice.ALL else documents[0])


async def begin_rebuild(settings: Settings, act: Rebuild, *, seconds: float) -> Generation:
    """Begin a rebuild with the next free number, or return the one that is already under way. Raises typer.Exit if it is refused."""
    async with open_store(settings, act.projection) as store:
        known = await store.generations()
    if under_way := generation_choice.building(known):
        return _report_building(act.projection, under_way)
    number = next_free(known)
    answer = await send_request(
        settings, act.model_copy(update={"generation": number}), request_id=None, seconds=seconds
    )
    if isinstance(answer, GenerationsChanged):
        return generation_choice.existing(act.projection, answer.generations, number)
    if answer.code == UNDER_WAY_CODE:  # another request was faster
        async with open_store(settings, act.projection) as store:
            if under_way := generation_choice.building(await store.generations()):
                return _report_building(act.projection, under_way)
    raise _refusal(answer)


def activate(
    name: generation_choice.Name,
    generation: Annotated[
        int | None,
        typer.Argument(
            min=1,
            max=generation_choice.MAX_GENERATION,
            metavar="[GENERATION]",
            help="Which one; the newest that is ready and not active if left out.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Answer queries from this generation from now on, at once; no query reads from two generations.

    The previous generation still follows live events, so `rollback` loses nothing. Requires --yes, or asks at a terminal.

    \b
    tidemark projections activate summary
    tidemark projections activate summary 2 --yes --reason "compared equal"
    """
    chosen, projection = settings(), generation_choice.projection(name)
    known = run(_generations(chosen, projection))
    one = (
        generation_choice.newest_ready(name, known)
        if generation is None
        else generation_choice.existing(name, known, generation)
    )
    before = generation_choice.active(known)
    what = f"{name}: queries are answered from generation {before.number}; from now on from generation {one.number}?"
    _confirm(what, yes, "activate")
    act = operator_options.validated(
        Activate,
        {"projection": name, "generation": one.number, "actor": operator_options.actor_name(actor), "reason": reason},
    )
    done = run(send_request_or_exit(chosen, act, request_id=request_id, seconds=timeout))
    _print_result(done, output, f"{name}: generation {one.number} is active")
    if one.number != before.number and output is Output.TABLE:
        screen.console(stderr=True).print(f"back to {before.number}: tidemark projections rollback {name}")


def rollback(
    name: generation_choice.Name,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Answer queries from the previously active generation again: at once and without confirmation, because it has all events.

    \b
    tidemark projections rollback summary --reason "totals are off"
    """
    chosen, projection = settings(), generation_choice.projection(name)
    act = operator_options.validated(
        Rollback, {"projection": projection, "actor": operator_options.actor_name(actor), "reason": reason}
    )
    done = run(send_request_or_exit(chosen, act, request_id=request_id, seconds=timeout))
    _print_result(
        done, output, f"{name}: generation {generation_choice.active(done.generations).number} is active again"
    )


def adopt_epoch(
    name: generation_choice.Name,
    yes: Yes = False,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Continue the active generation although the write database was set back: what was lost there stays in the view.

    Run tidemark verify first: streams that it reports as ahead or different will stay so. A rebuild makes all equal instead.

    \b
    tidemark projections adopt-epoch summary --yes --reason "the lost orders were test data"
    """
    chosen, projection = settings(), generation_choice.projection(name)
    one = generation_choice.active(run(_generations(chosen, projection)))
    _confirm(f"{name}: go on although {one.ahead:,} streams are ahead of the write database?", yes, "adopt-epoch")
    act = operator_options.validated(
        AdoptEpoch,
        {"projection": name, "generation": one.number, "actor": operator_options.actor_name(actor), "reason": reason},
    )
    done = run(send_request_or_exit(chosen, act, request_id=request_id, seconds=timeout))
    _print_result(
        done,
        output,
        f"{name}: generation {one.number} goes on in epoch {generation_choice.active(done.generations).epoch}",
    )


def drop(
    name: generation_choice.Name,
    generation: generation_choice.Number,
    yes: Yes = False,
    reason: operator_options.Reason = "",
    actor: operator_options.ActorOption = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete a generation that is not active, or stop one that is being built. Requires --yes, or asks at a terminal.

    \b
    tidemark projections drop summary 1
    """
    chosen, projection = settings(), generation_choice.projection(name)
    one = generation_choice.existing(name, run(_generations(chosen, projection)), generation)
    state = "it is being built" if one.state is GenerationState.BUILDING else "there is no way back to it then"
    _confirm(f"{name}: delete generation {generation}? ({state})", yes, "drop")
    act = operator_options.validated(
        Drop,
        {"projection": name, "generation": generation, "actor": operator_options.actor_name(actor), "reason": reason},
    )
    done = run(send_request_or_exit(chosen, act, request_id=request_id, seconds=timeout))
    _print_result(done, output, f"{name}: generation {generation} is gone")


async def _generations(settings: Settings, projection: str) -> list[Generation]:
    async with open_store(settings, projection) as store:
        return await store.generations()


def _report_building(projection: str, one: Generation) -> Generation:
    screen.console(stderr=True).print(f"{projection}: generation {one.number} is being built already")
    return one


def _follow_rebuild(settings: Settings, projection: str, number: int) -> Generation:
    try:
        return run(follow(settings, projection, number))
    except KeyboardInterrupt as error:
        message = (
            f"generation {number} of {projection} is still being built: tidemark projections rebuild {projection} "
            f"follows it, tidemark projections drop {projection} {number} stops it"
        )
        raise fail(message, operator_options.EXIT_INTERRUPTED) from error


def _begun_message(projection: str, one: Generation) -> str:
    return f"{projection}: generation {one.number} is being built; follow it: tidemark projections rebuild {projection}"


def _ready_message(projection: str, one: Generation) -> str:
    message = f"{projection}: generation {one.number} is ready"
    if one.ready_at is not None:
        seconds = (one.ready_at - one.begun_at).total_seconds()
        message += f": {one.scanned:,} events in {seconds:.1f} s"
        message += f" ({one.scanned / seconds:,.0f} a second)" if seconds > 0 else ""
    return f"{message}; next: tidemark projections compare {projection}"


def _refusal(answer: GenerationRefused) -> typer.Exit:
    return fail(screen.printable(f"{answer.code}: {answer.message}", 1000), NEGATIVE)


def _confirm(what: str, yes: bool, verb: str) -> None:
    if yes:
        return
    if not operator_options.is_interactive():
        raise fail(f"{verb} requires --yes: {what}", WRONG_USE)
    if not typer.confirm(what, err=True):
        raise typer.Exit(NEGATIVE)


def _print_result(done: GenerationsChanged, output: Output, message: str) -> None:
    if output is Output.JSON:
        screen.print_json(done)
        return
    screen.console().print(message)
    screen.console().print(tables.generations(done.projection, done.generations))

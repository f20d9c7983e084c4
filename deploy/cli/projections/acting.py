"""Rebuild, activate, rollback, drop: the commands that change something. Each says who and why, and shows what it came to."""

from typing import Annotated, Final

import typer

from deploy.cli import operator_options, screen
from deploy.cli.projections import choosing, tables
from deploy.cli.projections.following import follow
from deploy.cli.projections.requests import answered, request
from deploy.cli.terminal import NO, WRONG_USE, Output, OutputOption, fail, run, settings
from deploy.compare.stores import opened
from shared.messages.control import Activate, AdoptEpoch, Drop, Rebuild, Rollback
from shared.messaging.topology import PROJECTORS
from shared.runtime.settings import Settings
from shared.views.generations import Generation, GenerationRefused, GenerationsChanged, GenerationState

UNDER_WAY: Final = "rebuild-under-way"

Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the projector's answer.")]
Yes = Annotated[bool, typer.Option("--yes", help="It is meant: do not ask.")]


def rebuild(
    name: choosing.NameOrAll,
    rate: Annotated[
        float | None, typer.Option(help="Most events of history a second; otherwise as fast as live events allow.")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Begin it, and do not follow it.")] = False,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Build a new generation from history, beside the active one, and follow it until it is ready. Nothing else changes.

    Live events are applied meanwhile, and first.
    It survives any crash; Ctrl-C ends the following, not the rebuild.
    Called again while one is under way, it follows that one. Exit code 0: it is ready.

    \b
    tidemark projections rebuild summary
    tidemark projections rebuild all --rate 5000
    tidemark projections rebuild search --no-wait --reason "fixed in 1.4.2"
    """
    names = PROJECTORS if name == choosing.ALL else (choosing.projection(name),)
    chosen, who = settings(), operator_options.who(actor)
    if no_wait and len(names) > 1:
        raise fail("all are rebuilt one after the other: --no-wait goes with one of them", WRONG_USE)
    found = []
    for each in names:
        act = operator_options.valid(
            Rebuild, {"projection": each, "generation": 2, "rate": rate, "actor": who, "reason": reason}
        )
        one = run(begin(chosen, act, seconds=timeout))
        found.append(one if no_wait else _followed(chosen, each, one.number))
        if output is not Output.JSON:
            screen.console().print(_begun(each, one) if no_wait else _ready(each, found[-1]))
    if output is Output.JSON:
        documents = [
            {"projection": each, **one.model_dump(mode="json")} for each, one in zip(names, found, strict=True)
        ]
        screen.print_json({"items": documents} if name == choosing.ALL else documents[0])


async def begin(settings: Settings, act: Rebuild, *, seconds: float) -> Generation:
    """The rebuild that is under way from now on: a new one, whose number is the next free one, or one that was already."""
    async with opened(settings, act.projection) as store:
        known = await store.generations()
    if under_way := choosing.building(known):
        return _already(act.projection, under_way)
    number = choosing.next_free(known)
    answer = await request(settings, act.model_copy(update={"generation": number}), request_id=None, seconds=seconds)
    if isinstance(answer, GenerationsChanged):
        return choosing.known(act.projection, answer.generations, number)
    if answer.code == UNDER_WAY:  # somebody else was a moment faster
        async with opened(settings, act.projection) as store:
            if under_way := choosing.building(await store.generations()):
                return _already(act.projection, under_way)
    raise _refused(answer)


def activate(
    name: choosing.Name,
    generation: Annotated[
        int | None,
        typer.Argument(
            min=1,
            max=choosing.MAX_GENERATION,
            metavar="[GENERATION]",
            help="Which one; the newest that is ready and not active if left out.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Answer queries from this generation from now on: at once, and never from a mixture of two.

    The one before goes on following live events, so that `rollback` loses nothing. Wants --yes, or asks at a terminal.

    \b
    tidemark projections activate summary
    tidemark projections activate summary 2 --yes --reason "compared equal"
    """
    chosen, projection = settings(), choosing.projection(name)
    known = run(_generations(chosen, projection))
    one = choosing.newest_ready(name, known) if generation is None else choosing.known(name, known, generation)
    before = choosing.active(known)
    what = f"{name}: queries are answered from generation {before.number}; from now on from generation {one.number}?"
    _meant(what, yes, "activate")
    act = operator_options.valid(
        Activate,
        {"projection": name, "generation": one.number, "actor": operator_options.who(actor), "reason": reason},
    )
    done = run(answered(chosen, act, request_id=request_id, seconds=timeout))
    _show(done, output, f"{name}: generation {one.number} is active")
    if one.number != before.number and output is Output.TABLE:
        screen.console(stderr=True).print(f"back to {before.number}: tidemark projections rollback {name}")


def rollback(
    name: choosing.Name,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Answer queries from the generation again that was active before. At once, and without asking: it has all events.

    \b
    tidemark projections rollback summary --reason "totals are off"
    """
    chosen, projection = settings(), choosing.projection(name)
    act = operator_options.valid(
        Rollback, {"projection": projection, "actor": operator_options.who(actor), "reason": reason}
    )
    done = run(answered(chosen, act, request_id=request_id, seconds=timeout))
    _show(done, output, f"{name}: generation {choosing.active(done.generations).number} is active again")


def adopt_epoch(
    name: choosing.Name,
    yes: Yes = False,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Go on with the active generation although the write database was set back: what was lost there stays here.

    Look at tidemark verify first: streams that it shows as ahead or different will stay so. A rebuild makes all equal instead.

    \b
    tidemark projections adopt-epoch summary --yes --reason "the lost orders were test data"
    """
    chosen, projection = settings(), choosing.projection(name)
    one = choosing.active(run(_generations(chosen, projection)))
    _meant(f"{name}: go on although {one.ahead:,} streams are ahead of the write database?", yes, "adopt-epoch")
    act = operator_options.valid(
        AdoptEpoch,
        {"projection": name, "generation": one.number, "actor": operator_options.who(actor), "reason": reason},
    )
    done = run(answered(chosen, act, request_id=request_id, seconds=timeout))
    _show(done, output, f"{name}: generation {one.number} goes on in epoch {choosing.active(done.generations).epoch}")


def drop(
    name: choosing.Name,
    generation: choosing.Number,
    yes: Yes = False,
    reason: operator_options.Reason = "",
    actor: operator_options.By = None,
    request_id: operator_options.RequestId = None,
    timeout: Timeout = 30.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete a generation that is not active, or stop one that is being built. Wants --yes, or asks at a terminal.

    \b
    tidemark projections drop summary 1
    """
    chosen, projection = settings(), choosing.projection(name)
    one = choosing.known(name, run(_generations(chosen, projection)), generation)
    state = "it is being built" if one.state is GenerationState.BUILDING else "there is no way back to it then"
    _meant(f"{name}: delete generation {generation}? ({state})", yes, "drop")
    act = operator_options.valid(
        Drop,
        {"projection": name, "generation": generation, "actor": operator_options.who(actor), "reason": reason},
    )
    done = run(answered(chosen, act, request_id=request_id, seconds=timeout))
    _show(done, output, f"{name}: generation {generation} is gone")


async def _generations(settings: Settings, projection: str) -> list[Generation]:
    async with opened(settings, projection) as store:
        return await store.generations()


def _already(projection: str, one: Generation) -> Generation:
    screen.console(stderr=True).print(f"{projection}: generation {one.number} is being built already")
    return one


def _followed(settings: Settings, projection: str, number: int) -> Generation:
    try:
        return run(follow(settings, projection, number))
    except KeyboardInterrupt as error:
        message = (
            f"generation {number} of {projection} goes on without you: tidemark projections rebuild {projection} "
            f"follows it, tidemark projections drop {projection} {number} stops it"
        )
        raise fail(message, operator_options.INTERRUPTED) from error


def _begun(projection: str, one: Generation) -> str:
    return f"{projection}: generation {one.number} is being built; follow it: tidemark projections rebuild {projection}"


def _ready(projection: str, one: Generation) -> str:
    said = f"{projection}: generation {one.number} is ready"
    if one.ready_at is not None:
        seconds = (one.ready_at - one.begun_at).total_seconds()
        said += f": {one.scanned:,} events in {seconds:.1f} s"
        said += f" ({one.scanned / seconds:,.0f} a second)" if seconds > 0 else ""
    return f"{said}; next: tidemark projections compare {projection}"


def _refused(answer: GenerationRefused) -> typer.Exit:
    return fail(screen.shown(f"{answer.code}: {answer.message}", 1000), NO)


def _meant(what: str, yes: bool, verb: str) -> None:
    if yes:
        return
    if not operator_options.at_a_terminal():
        raise fail(f"{verb} wants --yes: {what}", WRONG_USE)
    if not typer.confirm(what, err=True):
        raise typer.Exit(NO)


def _show(done: GenerationsChanged, output: Output, said: str) -> None:
    if output is Output.JSON:
        screen.print_json(done)
        return
    screen.console().print(said)
    screen.console().print(tables.generations(done.projection, done.generations))

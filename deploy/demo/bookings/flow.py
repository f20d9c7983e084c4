"""One run on a running system: sends the history, lets many requests race, waits for the stores, compares, and verifies."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from rich.console import Console

from deploy.demo.bookings.figures import COUNTS, compared, winners
from deploy.demo.bookings.history import MESSAGE, RACERS, RACES, History, Step
from deploy.demo.bookings.report import Report
from deploy.demo.catching_up import CATCH_UP_TIMEOUT_S, read_by, wait_until_applied
from deploy.demo.comparison import ComparedFigure
from deploy.demo.display import Display
from deploy.demo.outcomes import OutcomeRecorder
from deploy.demo.read_stores import ReadStores, open_read_stores
from deploy.demo.system import Pids, settings_for
from deploy.run.resource_usage import resource_usages
from deploy.sending.batches import CommandMessage
from deploy.sending.outcomes import Outcome, Tally
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers
from deploy.verify.command import verify
from deploy.verify.options import Options

CODES: Final = (
    "slot-taken",
    "patient-busy",
    "invalid-booking-transition",
    "booking-already-requested",
    "validation-failed",
)


class Expectations:
    """Compares each outcome with what the model said of its command."""

    def __init__(self, recorder: OutcomeRecorder) -> None:
        self._recorder = recorder
        self._open: dict[str, str] = {}
        self.expected: Counter[str] = Counter()
        """By code; empty: accepted."""
        self.found: Counter[str] = Counter()
        self.different: list[str] = []

    def noting(self, steps: Iterator[Step]) -> Iterator[CommandMessage]:
        for step in steps:
            self._open[step.message.id] = step.expected
            self.expected[step.expected] += 1
            yield step.message

    def on_outcome(self, outcome: Outcome) -> None:
        self._recorder.on_outcome(outcome)
        self.found[outcome.code] += 1
        expected = self._open.pop(outcome.command_id)
        if outcome.code != expected:
            self.different.append(f"{outcome.command_id}: {outcome.code or 'accepted'}, not {expected or 'accepted'}")

    def lines(self) -> list[ComparedFigure]:
        different = {"decided": tuple(self.different)}
        return [
            ComparedFigure("commands with another outcome", (), different),
            ComparedFigure("accepted", self.expected[""], {"decided": self.found[""]}),
            *(ComparedFigure(f"refused: {code}", self.expected[code], {"decided": self.found[code]}) for code in CODES),
        ]


async def flow(servers: Servers, query_url: str, rounds: int, display: Display, pids: Pids) -> Report:
    """The report of a run. ``pids``: the processes whose resource usage it includes.

    Raises UnansweredCommandsError, NotCaughtUpError, ServerUnavailableError.
    """
    history = History(rounds)
    steps = await asyncio.to_thread(lambda: list(history.steps()))
    races = history.races()
    display.print_line(f"sending {len(steps):,} commands, {MESSAGE} at a time; then {RACES} × {RACERS} that race")
    display.begin("outcomes", len(steps) + RACES * RACERS)
    recorder = OutcomeRecorder(display)
    expectations = Expectations(recorder)
    began = time.monotonic()
    in_order = CommandSender(servers.rabbitmq_url, window=MESSAGE, batch_size=MESSAGE, name="demo")
    tally = await in_order.send(expectations.noting(iter(steps)), expectations.on_outcome)
    raced = [await _race(servers, messages, recorder) for messages in races]
    async with open_read_stores(servers, query_url) as stores:
        visible = await wait_until_applied(
            stores.all, recorder.versions, lambda *_: None, no_progress_timeout_s=CATCH_UP_TIMEOUT_S
        )
        display.print_line("comparing what is read with the model")
        lines = [
            *expectations.lines(),
            *_races(raced, await winners(stores)),
            *await compared(history.practice, stores),
        ]
        others = await _rows_of_others(stores, history)
    display.print_line("verifying every store against the event store")
    lines.append(ComparedFigure("findings of verify", 0, {"verify": await _findings(servers)}))
    return Report(
        sent=tally.sent + RACES * RACERS,
        accepted=tally.accepted + sum(race.accepted for race in raced),
        rejected=sum((Counter(race.rejected) for race in raced), Counter(tally.rejected)),
        examples=tally.examples,
        seconds=max(recorder.last_outcome_at, *visible.values()) - began,
        lag_seconds={
            name: max(0.0, at - recorder.last_outcome_at)
            for name, at in visible.items()
            if read_by(name, recorder.versions)
        },
        lines=lines,
        rows_of_others=others,
        costs=resource_usages(pids()),
    )


async def _race(servers: Servers, messages: list[CommandMessage], recorder: OutcomeRecorder) -> Tally:
    """All at once, each in a message of its own."""
    sender = CommandSender(servers.rabbitmq_url, window=len(messages), batch_size=1, name="demo")
    return await sender.send(messages, recorder.on_outcome)


def _races(raced: list[Tally], booked: tuple[int, ...]) -> list[ComparedFigure]:
    accepted = tuple(race.accepted for race in raced)
    taken = tuple(race.rejected["slot-taken"] for race in raced)
    return [
        ComparedFigure(f"winners of {RACES} races of {RACERS}", (1,) * RACES, {"decided": accepted, "query": booked}),
        ComparedFigure("  the others: slot-taken", (RACERS - 1,) * RACES, {"decided": taken}),
    ]


async def _rows_of_others(stores: ReadStores, history: History) -> int:
    practice = history.practice
    [counts] = await stores.summary.fetch(COUNTS)
    return int(sum(counts)) - len(practice.doctors) - len(practice.patients) - len(practice.bookings) - RACES


async def _findings(servers: Servers) -> int:
    quiet = Display(Console(quiet=True), None)
    report = await verify(settings_for(servers), Options(recheck_interval_s=0.5), quiet)
    return sum(report.counts.values())

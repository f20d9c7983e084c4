"""An in-memory shop around the real decisions: the domain of orders, products and payments, and the real steps of the process runtime.

Between them is a broker that delivers in any order across streams, twice, late, or never (what is lost is sent again). Between any two
steps a command worker or the process manager may crash: what it has not committed is gone, what it has not acknowledged comes again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from command_service.domain.aggregate import Claim, Refused
from command_service.domain.aggregates import BY_COMMAND
from command_service.domain.orders import Order
from command_service.domain.payments import Payment
from projectors.process_runtime.deciding import NewCommand, Process, Status, advance
from projectors.processes.fulfilment.process import PAYMENT, PROCESS
from projectors.processes.fulfilment.state import Fulfilment
from projectors.processes.process import Act, EventInput, Input, OperatorInput, OutcomeInput, TimerInput
from shared.contracts.laws import Law, totals
from shared.contracts.orders import OrderStatus
from shared.contracts.payments import PaymentStatus
from shared.contracts.registry import COMMANDS, EVENTS, LAWS
from shared.contracts.values import EventData
from tests.shop import NOON

PRODUCTS: Final = ("tea", "cups", "pot")


@dataclass
class Stream:
    state: Any = None
    events: list[EventData] = field(default_factory=list)


@dataclass(frozen=True)
class Sent:
    process_id: str
    command: NewCommand


class Simulation:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = NOON
        self.streams: dict[str, Stream] = defaultdict(Stream)
        self.claims: set[tuple[str, str]] = set()
        self.outcomes: dict[str, OutcomeInput] = {}
        """Command id → what was decided once: the same command gets it again."""
        self.commands: list[Sent] = []
        """On the broker."""
        self.replies: list[tuple[str, OutcomeInput]] = []
        """On the broker: (process, outcome)."""
        self.processes: dict[str, Process] = {}
        self.inputs: dict[str, set[str]] = defaultdict(set)
        """Process → the ids of its inputs."""
        self.unanswered: dict[str, Sent] = {}
        self.sent: dict[str, Sent] = {}
        self.positions: dict[str, int] = {}
        """Stream → the version that the process manager has read."""
        self.timers: dict[tuple[str, str], tuple[str, Any]] = {}
        """(process, name) → (token, due)."""
        self.old_timers: list[tuple[str, TimerInput]] = []
        """Fired or cancelled: they may come again."""
        self.meddled = False
        """Whether someone has taken reserved stock away from a process."""
        self.stale = 0

    # The command service.

    def send(self, type_: str, subject: str, data: Mapping[str, Any], sent: Sent | None = None) -> OutcomeInput:
        """Decide a command, or repeat what was decided for the same id."""
        command = sent.command if sent else NewCommand(f"#{len(self.outcomes)}", "", "", type_, subject, "", "")
        if command.command_id not in self.outcomes:
            self.outcomes[command.command_id] = self._decided(command, data)
        return self.outcomes[command.command_id]

    def _decided(self, command: NewCommand, data: Mapping[str, Any]) -> OutcomeInput:
        identity = (f"outcome-of-{command.command_id}", self.now, command.key, command.command_id, command.type)
        try:
            read = COMMANDS[command.type].model_validate(data)
            aggregate = BY_COMMAND[type(read)]
            stream = self.streams[f"{aggregate.kind}/{command.subject}"]
            events = aggregate.decide(stream.state, read, self.now)
            self._claim([claim for event in events for claim in aggregate.claims(event).take])
        except (Refused, ValidationError) as refused:
            code = refused.code if isinstance(refused, Refused) else "validation-failed"
            return OutcomeInput(*identity, accepted=False, code=code, message=str(refused))
        for event in events:
            stream.state = aggregate.evolve(stream.state, event)
            stream.events.append(event)
        return OutcomeInput(
            *identity, accepted=True, stream=f"{aggregate.kind}/{command.subject}", version=len(stream.events)
        )

    def _claim(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if (claim.scope, claim.value) in self.claims:
                raise Refused(claim.code, claim.message)
            self.claims.add((claim.scope, claim.value))

    # The broker and the process manager.

    def decide_a_command(self, place: int, *, crash: bool = False, lose_reply: bool = False) -> None:
        """``crash``: after the commit, before the acknowledgement."""
        sent = self.commands[place % len(self.commands)]
        outcome = self.send(sent.command.type, sent.command.subject, msgspec.json.decode(sent.command.data), sent)
        if not crash:
            self.commands.remove(sent)
            if not lose_reply:
                self.replies.append((sent.process_id, outcome))

    def deliver_a_reply(self, place: int, *, crash: bool = False) -> None:
        process_id, outcome = self.replies[place % len(self.replies)]
        self.give(process_id, outcome)
        if not crash:
            self.replies.remove((process_id, outcome))

    def deliver_an_event(self, stream: str, *, again: bool = False) -> None:
        """The next that the process manager has not read: its gate lets no other through. ``again``: the last one that it has read."""
        version = self.positions.get(stream, 0) + (0 if again else 1)
        if version:
            data = self.streams[stream].events[version - 1]
            given = EventInput(f"{stream}@{version}", self.now, stream, version, EVENTS[type(data)][0], data)
            process_id = PROCESS.correlate(given)
            if process_id is not None:
                self.give(process_id, given)
            self.positions[stream] = version

    def deliver_all_of(self, stream: str) -> None:
        while stream in self.unread():
            self.deliver_an_event(stream)

    def unread(self) -> list[str]:
        return [
            name
            for name, stream in self.streams.items()
            if name.startswith(("orders/", "payments/")) and len(stream.events) > self.positions.get(name, 0)
        ]

    def fire(self, process_id: str, given: TimerInput) -> None:
        self.give(process_id, given)

    def due(self) -> list[tuple[str, TimerInput]]:
        return [
            (process_id, TimerInput(token, self.now, name))
            for (process_id, name), (token, at) in self.timers.items()
            if at <= self.now
        ]

    def act(self, process_id: str, act: Act, number: int) -> None:
        self.give(process_id, OperatorInput(f"act-{number}", self.now, act, "ann", "the customer called"))

    def give(self, process_id: str, given: Input) -> None:
        """One input in one transaction; the first attempt may crash before its commit, which leaves nothing."""
        if given.id in self.inputs[process_id]:
            return
        stored = self.processes.get(process_id, Process(process_id))
        if self.random.random() < 0.1:
            advance(PROCESS, _loaded(stored), [given], self.now)
        process = _loaded(stored)
        progress = advance(PROCESS, process, [given], self.now)
        assert process.status is not Status.FAILED, process.failure
        self.stale += progress.stale
        self.inputs[process_id] |= {each.given.id for each in progress.inputs}
        if process.status is Status.AWAITING_START:
            assert process_id not in self.processes
            return
        self.processes[process_id] = process
        if isinstance(given, OutcomeInput):
            self.unanswered.pop(given.command_id, None)
        for command in progress.commands:
            assert command.command_id not in self.sent, "an id is given to one command"
            self.sent[command.command_id] = self.unanswered[command.command_id] = Sent(process_id, command)
        for name in {*progress.cancelled, *progress.timers}:
            if (timer := self.timers.pop((process_id, name), None)) is not None:
                self.old_timers.append((process_id, TimerInput(timer[0], self.now, name)))
        for name, timer in progress.timers.items():
            self.timers[process_id, name] = timer

    def publish(self, command_id: str) -> None:
        """By the relay: at first, again when an outcome is late, and twice after a crash."""
        self.commands.append(self.unanswered[command_id])

    def deliver_something(self) -> bool:
        """Anything that waits, drawn at random; what has no outcome is sent when nothing else waits. False: nothing is left to do."""
        steps: list[Callable[[], None]] = []
        if self.commands:
            steps.append(lambda: self.decide_a_command(self.random.randrange(99)))
        if self.replies:
            steps.append(lambda: self.deliver_a_reply(self.random.randrange(99)))
        if unread := self.unread():
            steps.append(lambda: self.deliver_an_event(self.random.choice(unread)))
        if due := self.due():
            steps.append(lambda: self.fire(*self.random.choice(due)))
        if steps:
            self.random.choice(steps)()
            return True
        for command_id in self.unanswered:
            self.publish(command_id)
        return bool(self.unanswered)

    # Customers, the warehouse and the payment provider.

    def orders(self, *statuses: OrderStatus) -> Iterator[Order]:
        for name, stream in list(self.streams.items()):
            if isinstance(stream.state, Order) and stream.state.status in statuses:
                assert name == f"orders/{stream.state.order_id}"
                yield stream.state

    def payments(self, status: PaymentStatus) -> Iterator[Payment]:
        for stream in list(self.streams.values()):
            if isinstance(stream.state, Payment) and stream.state.status is status:
                yield stream.state

    def create_products(self) -> None:
        for product_id in PRODUCTS:
            fields = {"product_id": product_id, "name": product_id, "category": "any", "price": 1, "currency": "EUR"}
            self.send("catalog.create-product", product_id, fields)

    def settle(self, payment_id: str, *, captured: bool) -> None:
        type_, data = ("capture-payment", {}) if captured else ("fail-payment", {"reason": "card declined"})
        self.send(f"payments.{type_}", payment_id, data)

    # What must be true.

    def broken_laws(self) -> list[str]:
        """Laws that are broken now, except one that a process still works on."""
        events = [event for stream in self.streams.values() for event in stream.events]
        return [
            f"{law.name} {key}: {problem}"
            for law in LAWS
            for key, found in totals(law, events).items()
            if (problem := law.broken(found)) and not self._is_worked_on(law, key)
        ]

    def _is_worked_on(self, law: Law, key: str) -> bool:
        """Until a process has read everything of its payment and of its order, and has the outcomes of all its commands."""
        unread = {f"orders/{key}", f"payments/{PAYMENT}{key}"} & set(self.unread())
        return law.kind == "orders" and bool(unread or any(sent.process_id == key for sent in self.unanswered.values()))

    def fulfilment(self, process_id: str) -> Fulfilment:
        state = self.processes[process_id].state
        assert state is not None
        return msgspec.json.decode(state, type=Fulfilment)


def _loaded(process: Process) -> Process:
    """As it is loaded from its row: nothing decoded, nothing shared."""
    loaded = copy(process)
    loaded.current, loaded.timers, loaded.waiting = None, dict(process.timers), list(process.waiting)
    return loaded

"""Whatever happens on the way, the conservation laws hold at every step, and in the end no fulfilment is stuck.

Orders of several customers compete for the same stock. Messages are shuffled, duplicated, delayed, lost and sent again; command workers and
the process manager crash between any two steps; payments are late, fail, or are never answered; customers, operators and the warehouse do
what they like.
"""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from command_service.domain.products import Product
from projectors.process_runtime.deciding import Status
from projectors.processes.fulfilment.process import PAYMENT
from projectors.processes.fulfilment.state import Phase, Reservation
from projectors.processes.process import Act
from shared.contracts.orders import OrderStatus
from shared.contracts.payments import PaymentStatus
from tests.unit.fulfilment.simulation import PRODUCTS, Simulation

ORDERS = ("o-1", "o-2", "o-3")
A_PLACE = st.integers(0, 30)
AN_ORDER = st.sampled_from(ORDERS)
A_PRODUCT = st.sampled_from(PRODUCTS)
UNITS = st.dictionaries(A_PRODUCT, st.lists(st.integers(1, 3), min_size=1, max_size=2), min_size=1)
"""Product → the quantities of its lines."""


class Histories(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32), stock=st.lists(st.integers(0, 6), min_size=3, max_size=3))
    def begin(self, seed: int, stock: list[int]) -> None:
        self.simulation = Simulation(Random(seed))
        self.simulation.create_products()
        self.acts = 0
        for product_id, quantity in zip(PRODUCTS, stock, strict=True):
            if quantity:
                self.simulation.send("catalog.receive-stock", product_id, {"quantity": quantity})

    # Customers, suppliers, the warehouse, the provider and operators.

    @rule(order_id=AN_ORDER, units=UNITS, free=st.sampled_from([False, False, False, True]))
    def an_order_is_placed(self, order_id: str, units: dict[str, list[int]], free: bool) -> None:
        lines = [
            {"product_id": product_id, "quantity": quantity, "amount": 0 if free else 10 * quantity}
            for product_id, quantities in units.items()
            for quantity in quantities
        ]
        fields = {"order_id": order_id, "customer_id": "c", "currency": "EUR", "lines": lines, "fulfilment": "managed"}
        self.simulation.send("orders.place-order", order_id, fields)

    @rule(product_id=A_PRODUCT, quantity=st.integers(1, 3))
    def stock_is_received(self, product_id: str, quantity: int) -> None:
        self.simulation.send("catalog.receive-stock", product_id, {"quantity": quantity})

    @rule(order_id=AN_ORDER)
    def a_customer_cancels(self, order_id: str) -> None:
        self.simulation.send("orders.cancel-order", order_id, {"reason": "changed my mind"})

    @rule(order_id=AN_ORDER)
    def the_warehouse_ships(self, order_id: str) -> None:
        self.simulation.send("orders.ship-order", order_id, {})

    @rule(order_id=AN_ORDER, captured=st.booleans())
    def the_provider_answers(self, order_id: str, captured: bool) -> None:
        self.simulation.settle(PAYMENT + order_id, captured=captured)

    @precondition(lambda self: any(self.simulation.payments(PaymentStatus.REQUESTED)))
    @rule(place=A_PLACE)
    def a_payment_is_captured_while_reservations_are_released(self, place: int) -> None:
        asked = [payment.order_id for payment in self.simulation.payments(PaymentStatus.REQUESTED)]
        order_id = asked[place % len(asked)]
        self.a_customer_cancels(order_id)
        self.simulation.deliver_all_of(f"orders/{order_id}")
        self.the_provider_answers(order_id, captured=True)
        self.simulation.deliver_all_of(f"payments/{PAYMENT}{order_id}")

    @rule(order_id=AN_ORDER, act=st.sampled_from(Act))
    def an_operator_acts(self, order_id: str, act: Act) -> None:
        self.acts += 1
        if order_id in self.simulation.processes:
            self.simulation.act(order_id, act, self.acts)

    @rule(order_id=AN_ORDER, product_id=A_PRODUCT, quantity=st.integers(1, 2), consume=st.booleans())
    def somebody_takes_reserved_stock(self, order_id: str, product_id: str, quantity: int, consume: bool) -> None:
        taken = "catalog.consume-stock" if consume else "catalog.release-stock"
        data = {"reservation_id": order_id, "quantity": quantity}
        self.simulation.meddled |= self.simulation.send(taken, product_id, data).accepted

    # The broker, crashes and time.

    @rule(count=st.integers(1, 12))
    def messages_flow(self, count: int) -> None:
        for _ in range(count):
            self.simulation.deliver_something()

    @precondition(lambda self: self.simulation.unanswered)
    @rule(place=A_PLACE)
    def a_command_is_published(self, place: int) -> None:
        waiting = list(self.simulation.unanswered)
        self.simulation.publish(waiting[place % len(waiting)])

    @precondition(lambda self: self.simulation.commands)
    @rule(place=A_PLACE, crash=st.booleans(), lose_reply=st.booleans())
    def a_command_is_decided(self, place: int, crash: bool, lose_reply: bool) -> None:
        self.simulation.decide_a_command(place, crash=crash, lose_reply=lose_reply)

    @precondition(lambda self: self.simulation.commands)
    @rule(place=A_PLACE)
    def a_command_is_lost(self, place: int) -> None:
        self.simulation.commands.pop(place % len(self.simulation.commands))

    @precondition(lambda self: self.simulation.replies)
    @rule(place=A_PLACE, crash=st.booleans())
    def an_outcome_arrives(self, place: int, crash: bool) -> None:
        self.simulation.deliver_a_reply(place, crash=crash)

    @precondition(lambda self: self.simulation.unread())
    @rule(place=A_PLACE)
    def an_event_arrives(self, place: int) -> None:
        unread = self.simulation.unread()
        self.simulation.deliver_an_event(unread[place % len(unread)])

    @rule(order_id=AN_ORDER, payment=st.booleans())
    def an_event_arrives_again(self, order_id: str, payment: bool) -> None:
        self.simulation.deliver_an_event(
            f"payments/{PAYMENT}{order_id}" if payment else f"orders/{order_id}", again=True
        )

    @rule(minutes=st.integers(1, 10))
    def time_passes(self, minutes: int) -> None:
        self.simulation.now += timedelta(minutes=minutes)

    @precondition(lambda self: self.simulation.due())
    @rule(place=A_PLACE)
    def a_timer_fires(self, place: int) -> None:
        due = self.simulation.due()
        self.simulation.fire(*due[place % len(due)])

    @precondition(lambda self: self.simulation.old_timers)
    @rule(place=A_PLACE)
    def a_timer_that_is_no_longer_set_fires(self, place: int) -> None:
        before, old = self.simulation.stale, self.simulation.old_timers
        process_id, given = old[place % len(old)]
        state = self.simulation.processes[process_id].state
        self.simulation.fire(process_id, given)
        assert self.simulation.processes[process_id].state == state
        assert self.simulation.stale == before + (given.id not in self.simulation.inputs[process_id])

    # What is true at any time.

    @invariant()
    def the_conservation_laws_hold(self) -> None:
        assert not self.simulation.broken_laws()
        for product_id in PRODUCTS:
            product = self.simulation.streams[f"products/{product_id}"].state
            assert isinstance(product, Product)
            assert product.reserved == sum(product.reservations.values())

    @invariant()
    def nothing_is_reserved_for_an_order_whose_fulfilment_is_done(self) -> None:
        for process_id, process in self.simulation.processes.items():
            if process.status is Status.DONE:
                for product_id in PRODUCTS:
                    product = self.simulation.streams[f"products/{product_id}"].state
                    assert process_id not in product.reservations or self.simulation.meddled

    # What must be true in the end.

    def teardown(self) -> None:
        if not hasattr(self, "simulation"):
            return
        simulation = self.simulation
        self.everything_is_delivered()
        for payment in simulation.payments(PaymentStatus.REQUESTED):
            if simulation.random.random() < 0.7:
                simulation.settle(payment.payment_id, captured=simulation.random.random() < 0.5)
        self.everything_is_delivered()
        simulation.now += timedelta(minutes=15)
        self.everything_is_delivered()
        for order in simulation.orders(OrderStatus.CONFIRMED):
            simulation.send("orders.ship-order", order.order_id, {})
        self.everything_is_delivered()
        for payment in simulation.payments(PaymentStatus.REQUESTED):
            simulation.settle(payment.payment_id, captured=True)
        self.everything_is_delivered()
        self.no_fulfilment_is_stuck()
        self.orders_and_money_agree()
        self.the_conservation_laws_hold()
        self.nothing_is_reserved_for_an_order_whose_fulfilment_is_done()

    def everything_is_delivered(self) -> None:
        while self.simulation.deliver_something():
            pass

    def no_fulfilment_is_stuck(self) -> None:
        simulation = self.simulation
        managed = {
            name.partition("/")[2] for name, one in simulation.streams.items() if name[:7] == "orders/" and one.events
        }
        assert simulation.processes.keys() == managed
        assert all(process.status is Status.DONE for process in simulation.processes.values())
        assert all(command_id in simulation.outcomes for command_id in simulation.sent)
        assert not simulation.timers

    def orders_and_money_agree(self) -> None:
        simulation = self.simulation
        for process_id, process in simulation.processes.items():
            order, state = simulation.streams[f"orders/{process_id}"].state, simulation.fulfilment(process_id)
            payment = simulation.streams[f"payments/{PAYMENT}{process_id}"].state
            assert set(state.reservations.values()) <= {Reservation.CLOSED}
            assert process.result is not None
            if state.phase is Phase.FULFILLED:
                assert order.status is OrderStatus.SHIPPED
                assert (payment.status, payment.refunded) == (PaymentStatus.CAPTURED, 0)
                assert process.result == "fulfilled" or simulation.meddled
            else:
                assert (state.phase, order.status) == (Phase.CANCELLED, OrderStatus.CANCELLED)
                assert process.result.startswith("cancelled: ")
                if payment is not None and payment.status is PaymentStatus.CAPTURED:
                    assert payment.refunded == payment.amount


def run(examples: int, steps: int) -> None:
    quick = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[*HealthCheck],
    )
    run_state_machine_as_test(Histories, settings=quick)


def test_no_history_breaks_a_law_or_leaves_a_fulfilment_stuck() -> None:
    run(300, 40)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_no_history_of_twenty_thousand_breaks_a_law_or_leaves_a_fulfilment_stuck() -> None:
    run(20_000, 50)

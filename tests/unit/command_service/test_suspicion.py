"""What may be killing a worker is tried alone, and in its order."""

import itertools
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from command_service.handling.isolation import DEADLY_AFTER, MAX_DEATHS, SUSPICIOUS_AFTER, units_of_work
from shared.messaging import topology
from shared.messaging.consuming import Delivery
from shared.runtime.settings import Settings


@given(st.lists(st.integers(0, 5)))
def test_suspects_are_alone_neighbours_above_suspicion_together_and_all_in_their_order(counts: list[int]) -> None:
    deliveries = [cast(Delivery, SimpleNamespace(deliveries=count, tag=tag)) for tag, count in enumerate(counts)]
    found: list[list[Any]] = list(units_of_work(deliveries))
    assert [each for unit in found for each in unit] == deliveries
    assert all(len(unit) == 1 for unit in found if unit[0].deliveries >= SUSPICIOUS_AFTER)
    usual = [unit[0].deliveries < SUSPICIOUS_AFTER for unit in found]
    assert not any(first and second for first, second in itertools.pairwise(usual))


def test_no_neighbour_reaches_the_delivery_limit_though_all_that_a_worker_holds_be_guilty() -> None:
    held = 2 * Settings().command_batch
    assert DEADLY_AFTER + MAX_DEATHS * held < topology.COMMAND_DELIVERY_LIMIT

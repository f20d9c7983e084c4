"""A store that loses its data again, before the heartbeat that would have written how far it has come since the first loss, is filled."""

from random import Random

import pytest

from tests.unit.projectors.event_store import STREAMS
from tests.unit.projectors.simulation import LANES, Simulation

MINUTES = 5


def requests_answered_and_delivered(simulation: Simulation) -> None:
    requests, simulation.requests = simulation.requests, []
    for request in requests:
        simulation.answer(request)
    simulation.deliver(0, [message for queue in simulation.queues.values() for message in queue])


def minute(simulation: Simulation) -> None:
    simulation.pass_time(60)
    simulation.beat()
    requests_answered_and_delivered(simulation)


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_a_store_that_is_emptied_again_when_it_has_just_been_compared_is_filled_again(losses: int) -> None:
    simulation = Simulation(Random(losses))
    for stream in STREAMS:
        simulation.publish(stream, 2)
    for _ in range(MINUTES):
        minute(simulation)
    whole = dict(simulation.store.applied)
    assert whole.keys() == set(STREAMS)
    assert {lane: simulation.store.lanes[lane][0] for lane in range(LANES)} == simulation.beats

    for _ in range(losses):
        simulation.empty_the_store()
        for _ in range(3):  # it asks for heads, then for what it lacks, then applies it; no heartbeat comes meanwhile
            simulation.pass_time(2)
            requests_answered_and_delivered(simulation)
        assert simulation.store.applied == whole
        assert all(as_of != simulation.beats[lane] for lane, (as_of, _) in simulation.store.lanes.items())
    simulation.empty_the_store()
    for _ in range(MINUTES):
        minute(simulation)
    assert simulation.store.applied == whole
    assert {lane: simulation.store.lanes[lane][0] for lane in range(LANES)} == simulation.beats
    simulation.close()

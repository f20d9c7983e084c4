"""An event that kills the process: after a few deaths it is a dead letter, alone; everything else of its message has gone on."""

import asyncio
import os
from uuid import uuid4

import pytest

from deploy.run.child import Program
from deploy.run.deployables import program
from deploy.run.supervisor import ChildExitedError
from shared.messages.control import Replay, Selection
from shared.messaging.operators.operations_client import request, send_request
from shared.views.operations import Done
from tests.e2e.system import System

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]

MOST_DEATHS = 12
LIVES_FOR_S = 8.0


async def test_an_event_that_kills_the_process_becomes_a_dead_letter_and_not_a_crash_loop(system: System) -> None:
    customer = f"deadly-{uuid4().hex}"
    deadly = f"orders/{customer}-0"
    await system.supervisor.kill("summary")
    for number in range(20):
        line = {"product_id": "p", "quantity": 1, "amount": 10}
        order = {"order_id": f"{customer}-{number}", "customer_id": customer, "currency": "EUR", "lines": [line]}
        await system.bus.accepted("orders.place-order", order)
    await system.visible("/search/orders", lambda found: found["total"] == 20, q=customer)
    healthy = program("summary", system.servers)
    sick = program("summary", system.servers, os.environ | {"TIDEMARK_POISON": f"summary:kill:{deadly}"})
    try:
        deaths = await deaths_until_it_lives(system, sick)
        assert 2 <= deaths <= MOST_DEATHS
        letter = await system.letter("summary", stream=deadly)
        assert letter["reason"] == "process-killed"
        await system.visible("/orders", lambda page: len(page["items"]) == 19, customer_id=customer)
    finally:
        await system.supervisor.kill("summary")
        await system.supervisor.start([healthy])
    act = Replay(selection=Selection(stream=deadly), actor="a test", reason="the crash is mended")
    answer = await send_request(system.servers.rabbitmq_url, request(act, source="tests"), seconds=20)
    assert isinstance(answer, Done), answer
    await system.visible("/orders", lambda page: len(page["items"]) == 20, customer_id=customer)


async def deaths_until_it_lives(system: System, sick: Program) -> int:
    """Start it again after each death, as an orchestrator would, until it has lived for a while."""
    for deaths in range(MOST_DEATHS + 1):
        try:
            await system.supervisor.start([sick])
            async with asyncio.timeout(LIVES_FOR_S):
                await system.supervisor.unexpected_exit()
        except ChildExitedError:
            continue
        except TimeoutError:
            return deaths
    pytest.fail(f"it died more than {MOST_DEATHS} times")

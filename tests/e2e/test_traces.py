"""Traces of a running system arrive at a receiver: one for a command, whatever happens to its events on their way."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from deploy.run.deployables import program
from shared.messages.control import Replay, Selection
from shared.messages.envelope import BATCH_CONTENT_TYPE
from shared.messaging.operators.operations_client import request, send_request
from shared.observability import trace_names as names
from shared.observability.spans import MAX_LINKS
from shared.views.operations import Done
from tests.e2e.bus import encode, envelope
from tests.e2e.system import System
from tests.otlp import ReceivedSpan, Receiver, sampled

pytestmark = pytest.mark.timeout(120)

PLACE = "orders.place-order"
READERS = {"summary", "analytics", "search"}
DECIDE, RELAY = "process commands", "send events"
INGRESS = "POST /commands/{command_type}"


def order(order_id: str, **more: Any) -> dict[str, Any]:
    line = {"product_id": f"p-{order_id}", "quantity": 1, "amount": 10}
    return {"order_id": order_id, "customer_id": "traced", "currency": "EUR", "lines": [line]} | more


async def arrived(receiver: Receiver, found: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(receiver.wait, found)


def process_spans(spans: Sequence[ReceivedSpan], *, failed: bool = False) -> dict[str, ReceivedSpan]:
    """By projection."""
    return {
        span.attributes[names.PROJECTION]: span
        for span in spans
        if names.PROJECTION in span.attributes and span.failed is failed and span.name != "process batch"
    }


async def complete(
    receiver: Receiver, trace: str, readers: Collection[str] = READERS, *, begins: str = DECIDE
) -> list[ReceivedSpan]:
    """The spans of a trace once it is begun, decided, published, and applied in these projections: each process sends its own."""

    def found() -> list[ReceivedSpan]:
        spans = receiver.of(trace)
        whole = process_spans(spans).keys() >= set(readers) and {begins, DECIDE, RELAY} <= {span.name for span in spans}
        return spans if whole else []

    spans: list[ReceivedSpan] = await arrived(receiver, found)
    return spans


async def test_a_command_over_http_is_one_trace_until_it_is_visible_in_each_projection(
    system: System, traces: Receiver
) -> None:
    trace, traceparent = sampled()
    order_id = uuid4().hex
    response = await system.commands.post(
        f"/commands/{PLACE}",
        json=order(order_id),
        headers={"traceparent": traceparent, "tracestate": "vendor=1", "Prefer": "wait=10"},
    )
    assert response.status_code == 200, response.text
    spans = await complete(traces, trace, begins=INGRESS)
    [ingress] = [span for span in spans if span.kind == "SERVER"]
    [decide] = [span for span in spans if span.name == DECIDE]
    [relay] = [span for span in spans if span.name == RELAY]
    assert (ingress.service, ingress.parent) == ("tidemark-http", traceparent.split("-")[2])
    assert (decide.service, decide.parent, decide.kind) == ("tidemark-worker", ingress.id, "CONSUMER")
    assert (relay.service, relay.parent, relay.kind) == ("tidemark-relay", decide.id, "CLIENT")
    applied = process_spans(spans)
    assert {span.parent for span in applied.values()} == {decide.id}
    assert {span.kind for span in applied.values()} == {"CONSUMER"}
    assert decide.attributes[names.OUTCOME] == "accepted"
    assert decide.attributes[names.COMMAND_TYPE] == PLACE
    for name in READERS:
        attributes = applied[name].attributes
        assert attributes[names.SYSTEM] == "rabbitmq"
        assert attributes[names.MESSAGE_ID] == f"orders/{order_id}@1"
        assert attributes[names.STREAM] == f"orders/{order_id}"
        assert attributes[names.DESTINATION].startswith(f"{name}.")
        assert 0 <= attributes[names.VISIBLE_SECONDS] < 30
    history = await system.visible(f"/orders/{order_id}/history")
    assert history, "the trace changes nothing of what is stored"


async def test_a_trace_that_the_sender_does_not_record_is_recorded_nowhere(system: System, traces: Receiver) -> None:
    silent, traceparent = sampled(flags="00")
    loud, _ = sampled()
    customer = uuid4().hex
    await system.bus.accepted(PLACE, order(f"{customer}-1"), traceparent=traceparent)
    await system.bus.accepted(PLACE, order(f"{customer}-2"), traceparent=f"00-{loud}-{'b' * 16}-01")
    await complete(traces, loud)
    assert traces.of(silent) == []


@pytest.mark.parametrize(
    "given",
    [
        f"01-{'c' * 32}-{'d' * 16}-03-more",
        f"ff-{'c' * 32}-{'d' * 16}-01",
        f"00-{'C' * 32}-{'d' * 16}-01",
        f"00-{'0' * 32}-{'d' * 16}-01",
        f"00-{'c' * 32}-{'0' * 16}-01",
        f"00-{'c' * 32}-{'d' * 16}-01-too-long",
        "x" * 10_000,
    ],
    ids=["newer", "ff", "upper case", "no trace", "no parent", "too long", "far too long"],
)
async def test_a_wrong_or_newer_traceparent_costs_no_command(system: System, given: str) -> None:
    order_id = uuid4().hex
    await system.bus.accepted(PLACE, order(f"{order_id}-1"), traceparent=given, tracestate="=,," * 300)
    headers = {"traceparent": given[:4000], "tracestate": "=,,", "Prefer": "wait=10"}
    response = await system.commands.post(f"/commands/{PLACE}", json=order(f"{order_id}-2"), headers=headers)
    assert response.status_code == 200, response.text


async def test_in_a_batch_each_recorded_event_has_spans_of_its_own_and_the_batch_links_to_them(
    system: System, traces: Receiver
) -> None:
    number = uuid4().hex
    given = [sampled() if index % 2 else ("", None) for index in range(100)]
    body = [
        envelope(PLACE, order(f"{number}-{index}"), **({"traceparent": parent} if parent else {}))
        for index, (_, parent) in enumerate(given)
    ]
    answer = json.loads(await system.bus.ask(encode(body), routing_key=PLACE, content_type=BATCH_CONTENT_TYPE))
    assert {each["type"] for each in answer} == {"command.accepted"}
    recorded = {trace for trace, _ in given if trace}
    for trace in recorded:
        spans = await complete(traces, trace)
        [decide] = [span for span in spans if span.name == DECIDE]
        assert {span.parent for span in process_spans(spans).values()} == {decide.id}

    def linking() -> list[ReceivedSpan]:
        found = [span for span in traces.spans if span.name == "process batch" and recorded & set(span.links)]
        return found if {span.attributes[names.PROJECTION] for span in found} >= READERS else []

    for batch in await arrived(traces, linking):
        assert 1 <= len(batch.links) <= MAX_LINKS
        assert batch.attributes[names.BATCH_COUNT] > 1
        assert batch.trace not in recorded


@asynccontextmanager
async def poisoned(system: System, name: str, stream: str, **settings: str) -> AsyncIterator[None]:
    """A projector that fails on this stream; afterwards it is as before."""
    sick = {"TIDEMARK_POISON": f"{name}:{stream}"} | settings
    await restart(system, name, sick)
    try:
        yield
    finally:
        await restart(system, name, {})


async def restart(system: System, name: str, settings: dict[str, str]) -> None:
    await system.supervisor.kill(name)
    await system.supervisor.start([program(name, system.servers, os.environ | system.settings | settings)])


async def test_after_a_retry_and_after_a_replay_an_event_is_in_the_same_trace(system: System, traces: Receiver) -> None:
    trace, traceparent = sampled()
    order_id = uuid4().hex
    stream = f"orders/{order_id}"

    def failed(name: str) -> ReceivedSpan | None:
        return process_spans(traces.of(trace), failed=True).get(name)

    async with (
        poisoned(system, "summary", stream),
        poisoned(system, "search", stream, TIDEMARK_SEARCH_RETRIES="0"),
    ):
        await system.bus.accepted(PLACE, order(order_id), traceparent=traceparent)
        retrying = await arrived(traces, lambda: failed("summary"))
        dead = await arrived(traces, lambda: failed("search"))
        letter = await system.letter("search", stream=stream)
    assert retrying.attributes[names.HELD] == "retrying"
    assert (dead.attributes[names.HELD], dead.attributes[names.ERROR_TYPE]) == ("dead", "projection-failed")
    assert letter["trace_id"] == trace
    act = Replay(selection=Selection(stream=stream), actor="a test", reason="the poison is gone")
    answer = await send_request(system.servers.rabbitmq_url, request(act, source="tests"), seconds=20)
    assert isinstance(answer, Done), answer
    spans = await complete(traces, trace)
    [decide] = [span for span in spans if span.name == DECIDE]
    assert {span.parent for span in process_spans(spans).values()} == {decide.id}
    [resent, *_] = await arrived(
        traces, lambda: [span for span in traces.linking(trace) if span.name == "resend events"]
    )
    assert resent.attributes[names.PROJECTION] == "search"


async def test_a_scheduled_command_that_is_due_is_decided_in_a_trace_that_links_to_the_first(
    system: System, traces: Receiver
) -> None:
    trace, traceparent = sampled()
    due = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    customer = {"customer_id": uuid4().hex, "name": "Ann"}
    pending = await system.bus.command("customers.register-customer", customer, traceparent=traceparent, notbefore=due)
    assert pending["type"] == "command.pending"
    [decide] = await arrived(traces, lambda: [span for span in traces.linking(trace) if span.name == DECIDE])
    [scheduled] = await arrived(traces, lambda: [span for span in traces.of(trace) if span.name == DECIDE])
    assert scheduled.attributes[names.OUTCOME] == "scheduled"
    assert (decide.attributes[names.OUTCOME], decide.linked) == ("accepted", (scheduled.id,))
    await complete(traces, decide.trace, ["summary"])


async def test_the_commands_of_a_process_are_traces_that_link_to_what_led_to_them(
    system: System, traces: Receiver
) -> None:
    trace, traceparent = sampled()
    order_id = uuid4().hex
    product = {"product_id": f"p-{order_id}", "name": "Tea", "price": 10, "currency": "EUR", "category": "drinks"}
    await system.bus.accepted("catalog.create-product", product)
    await system.bus.accepted("catalog.receive-stock", {"quantity": 5}, subject=product["product_id"])
    await system.bus.accepted(PLACE, order(order_id, fulfilment="managed"), traceparent=traceparent)

    def reserved() -> ReceivedSpan | None:
        sent = [span for span in traces.linking(trace) if span.name == "send commands"]
        return next((span for span in sent if span.attributes[names.COMMAND_TYPE] == "catalog.reserve-stock"), None)

    sent = await arrived(traces, reserved)
    assert (sent.service, sent.kind) == ("tidemark-processes", "PRODUCER")
    spans = await complete(traces, sent.trace, ["summary"])
    [decide] = [span for span in spans if span.name == DECIDE]
    assert decide.parent == sent.id
    # The outcome of that command leads to the next one, which links to the same event.
    await arrived(
        traces,
        lambda: [
            span
            for span in traces.linking(trace)
            if span.attributes.get(names.COMMAND_TYPE) == "payments.request-payment"
        ],
    )


async def test_tidemark_send_begins_a_trace(system: System, traces: Receiver) -> None:
    customer = json.dumps({"customer_id": uuid4().hex, "name": "Ann"})
    command_id = uuid4().hex
    arguments = ("send", "customers.register-customer", customer, "--id", command_id)
    sending = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli.main",
        *arguments,
        env=os.environ | system.servers.environ() | traces.settings(ratio=1.0),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        assert await sending.wait() == 0
    [sent] = await arrived(traces, lambda: [span for span in traces.spans if span.service == "tidemark-cli"])
    assert sent.attributes[names.MESSAGE_ID] == command_id
    spans = await complete(traces, sent.trace, ["summary"])
    [decide] = [span for span in spans if span.name == DECIDE]
    assert decide.parent == sent.id

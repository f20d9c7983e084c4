"""What is recorded, and what it costs a process whose receiver is gone: with the SDK itself."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from textwrap import dedent
from typing import Any

import msgspec
import pytest
from litestar import Response
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from command_service.handling.decision import Outcome
from command_service.handling.parsing import Message
from command_service.measuring.command_spans import CommandSpans
from command_service.measuring.event_spans import record_published, record_resent, sampled_traceparent
from command_service.measuring.request_spans import send_traced
from command_service.publishing.packing import Row, RowBatch
from deploy.servers.ports import free_port
from projectors.runtime.decoding import ArrivedEvent
from projectors.runtime.measuring import record_spans
from projectors.runtime.retry import gap_hold
from projectors.stores.port import Advance, Commit, Event, HoldStatus
from shared.http.problems import Problem
from shared.messages.envelope import CommandEnvelope
from shared.messages.trace_context import trace_parent
from shared.messaging.broker import BrokerUnavailableError
from shared.observability import trace_names as names
from shared.observability import tracing
from shared.observability.sending import command_spans, first_command_span
from shared.observability.spans import MAX_LINKS, Recorder, SpanKind
from shared.runtime.settings import Settings
from tests import shop
from tests.otlp import receiver, sampled
from tests.unit.observability.deliveries import command, delivery

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUEUE = 2048
"""The SDK's default: OTEL_BSP_MAX_QUEUE_SIZE."""


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    recorder = Recorder(provider.get_tracer("test"), 0.0, provider.shutdown)
    monkeypatch.setattr(tracing, "recorder", recorder)
    return exporter


def only(memory: InMemorySpanExporter) -> ReadableSpan:
    [span] = memory.get_finished_spans()
    return span


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def events(*traceparents: str | None) -> list[Event]:
    run = shop.run("orders/o-1", *([shop.placed("o-1")] * len(traceparents)))
    return [
        msgspec.structs.replace(event, time=NOW - timedelta(seconds=2), traceparent=traceparent)
        for event, traceparent in zip(run.events, traceparents, strict=True)
    ]


def record(commit: Commit, failed: dict[str, ArrivedEvent] | None = None) -> None:
    assert tracing.recorder is not None
    record_spans(tracing.recorder, "summary", commit, failed or {}, time.time_ns(), NOW)


def test_each_event_that_is_recorded_has_a_span_and_the_batch_links_to_32_at_most(memory: InMemorySpanExporter) -> None:
    traceparents = [sampled()[1] for _ in range(60)]
    silent = [None, sampled("00")[1], *([None] * 38)]
    record(Commit([Advance("orders/o-1", 0, events(*traceparents, *silent))]))
    spans = memory.get_finished_spans()
    *each, batch = spans
    assert len(each) == len(traceparents)
    for span, traceparent in zip(each, traceparents, strict=True):
        assert span.name == "process summary"
        assert span.kind is SpanKind.CONSUMER
        assert span.parent is not None
        assert [trace_of(span), f"{span.parent.span_id:016x}"] == traceparent.split("-")[1:3]
        assert span.attributes is not None
        assert span.attributes[names.VISIBLE_SECONDS] == 2.0
    assert batch.name == "process batch"
    assert batch.attributes is not None
    assert batch.attributes[names.BATCH_COUNT] == 100
    assert [f"{link.context.trace_id:032x}" for link in batch.links] == [
        traceparent.split("-")[1] for traceparent in traceparents[:MAX_LINKS]
    ]


def test_a_batch_without_a_recorded_event_makes_no_span_and_one_event_makes_no_batch(
    memory: InMemorySpanExporter,
) -> None:
    record(Commit([Advance("orders/o-1", 0, events(None, None, sampled("00")[1]))]))
    assert memory.get_finished_spans() == ()
    record(Commit([Advance("orders/o-1", 0, events(sampled()[1]))]))
    assert only(memory).name == "process summary"


def test_a_failed_event_has_a_failed_span_with_the_reason_and_no_data(memory: InMemorySpanExporter) -> None:
    [event] = events(sampled()[1])
    hold = replace(
        gap_hold(0, 1, NOW), status=HoldStatus.RETRYING, attempts=2, reason="projection-failed", exception="secret"
    )
    record(Commit(holds={event.stream: hold}), {event.stream: ArrivedEvent(event, {})})
    span = only(memory)
    assert not span.status.is_ok
    assert span.attributes is not None
    assert span.attributes[names.ERROR_TYPE] == "projection-failed"
    assert (span.attributes[names.HELD], span.attributes[names.ATTEMPTS]) == ("retrying", 2)
    assert "secret" not in span.to_json()


@pytest.mark.parametrize("form", ['"traceparent":"%s"', '"traceparent": "%s"'], ids=["as written", "as sealed again"])
def test_the_relay_finds_the_trace_of_an_event_without_parsing_it(form: str) -> None:
    _, traceparent = sampled()
    assert sampled_traceparent('{"id":"1",%s}' % (form % traceparent)) == traceparent
    assert sampled_traceparent('{"id":"1",%s}' % (form % sampled("00")[1])) is None
    assert sampled_traceparent(json.dumps({"data": {"name": f'"traceparent":"{traceparent}"'}})) is None
    assert sampled_traceparent('{"id":"1"}') is None


def test_the_relay_records_what_it_published_and_what_it_could_not(memory: InMemorySpanExporter) -> None:
    assert tracing.recorder is not None
    trace, traceparent = sampled()
    rows = [
        Row(1, "orders/o-1", None, json.dumps({"id": "orders/o-1@1", "traceparent": traceparent})),
        Row(2, "orders/o-2", None, '{"id":"orders/o-2@1"}'),
    ]
    batches = [RowBatch(1, rows), RowBatch(2, rows)]
    record_published(tracing.recorder, batches, [None, BrokerUnavailableError("gone")], time.time_ns())
    good, bad = memory.get_finished_spans()
    assert good.attributes is not None
    assert good.attributes[names.MESSAGE_ID] == "orders/o-1@1"
    assert good.attributes[names.ROUTING_KEY] == "lane.1"
    assert good.status.description is None
    assert bad.status.description == "BrokerUnavailableError"
    memory.clear()
    record_resent(tracing.recorder, "search", rows, time.time_ns())
    [link] = only(memory).links
    assert f"{link.context.trace_id:032x}" == trace
    memory.clear()
    record_resent(tracing.recorder, "search", rows[1:], time.time_ns())
    assert memory.get_finished_spans() == ()


def test_a_command_without_a_trace_begins_one_if_it_is_drawn_and_its_events_belong_to_it(
    memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracing.recorder is not None
    monkeypatch.setattr(tracing.recorder, "_ratio", 0.5)
    monkeypatch.setattr(tracing.recorder, "_draw", iter([0.7, 0.2]).__next__)
    message = Message((command(), command(), command(traceparent=sampled("00")[1])), batch=True)
    spans = CommandSpans()
    [traced] = spans.begin([delivery()], [message])
    given = [part.envelope.traceparent for part in traced.parts]  # type: ignore[union-attr]
    spans.end([[Outcome(b"{}", True)] * 3])
    assert given[0] is None
    assert given[2] == message.parts[2].envelope.traceparent  # type: ignore[union-attr]
    assert given[1] is not None
    assert given[1].split("-")[1] == trace_of(only(memory))
    assert [part.digest for part in traced.parts] == [part.digest for part in message.parts]  # type: ignore[union-attr]


@pytest.mark.parametrize(("flags", "recorded"), [("01", 1), ("00", 0)])
def test_the_trace_in_the_headers_of_a_message_is_that_of_its_commands_which_name_none(
    memory: InMemorySpanExporter, flags: str, recorded: int
) -> None:
    (of_message, in_headers), (of_command, in_envelope) = sampled(flags), sampled()
    message = Message((command(), command(traceparent=in_envelope)), batch=True)
    spans = CommandSpans()
    spans.begin([delivery(traceparent=in_headers)], [message])
    spans.end([[Outcome(b"{}", True)] * 2])
    found = [trace_of(span) for span in memory.get_finished_spans()]
    assert found == [*[of_message] * recorded, of_command]


@pytest.mark.parametrize("header", [b"\xff", 7, "garbage", f"ff-{'c' * 32}-{'d' * 16}-01"])
def test_a_wrong_trace_in_the_headers_is_ignored(memory: InMemorySpanExporter, header: object) -> None:
    spans = CommandSpans()
    message = Message((command(),), batch=False)
    assert spans.begin([delivery(traceparent=header)], [message]) == [message]


def test_the_share_of_what_is_drawn_is_the_setting() -> None:
    recorder = Recorder(TracerProvider().get_tracer("t"), 0.01, lambda: None, draw=Random(1).random)
    assert 800 <= sum(recorder.is_drawn() for _ in range(100_000)) <= 1200
    assert Settings().traces == "off"
    assert Settings().traces_ratio == 0.01


def test_a_process_that_records_nothing_makes_nothing() -> None:
    assert tracing.recorder is None
    message = Message((command(traceparent=sampled()[1]),), batch=False)
    spans = CommandSpans()
    assert spans.begin([delivery()], [message]) == [message]
    spans.end([[Outcome(b"{}", True)]])
    with command_spans([("c-1", "orders.pay-order", sampled()[1])]) as contexts, first_command_span("c", "t") as first:
        assert (contexts, first) == ({}, None)


def test_only_a_command_with_a_recorded_cause_gets_a_trace_and_its_span_says_when_it_was_not_sent(
    memory: InMemorySpanExporter,
) -> None:
    trace, cause = sampled()
    causes = [("c-1", "orders.pay-order", cause), ("c-2", "orders.pay-order", None)]

    def refused() -> None:
        with command_spans(causes) as contexts:
            assert contexts.keys() == {"c-1"}
            raise BrokerUnavailableError("gone")

    with pytest.raises(BrokerUnavailableError):
        refused()
    span = only(memory)
    assert f"{span.links[0].context.trace_id:032x}" == trace != trace_of(span)
    assert span.status.description == "BrokerUnavailableError"


async def sent_over_http(*, traceparent: str | None = None, problem: Problem | None = None) -> str | None:
    """The ``traceparent`` of what is published for a request with this one."""
    published: list[CommandEnvelope] = []

    async def send(envelope: CommandEnvelope) -> Response[bytes]:
        published.append(envelope)
        if problem is not None:
            raise problem
        return Response(b"{}", status_code=202)

    with suppress(Problem):
        await send_traced(command(traceparent=traceparent).envelope, send)
    [envelope] = published
    return envelope.traceparent


async def test_a_request_that_is_not_drawn_is_not_drawn_again_by_the_worker(memory: InMemorySpanExporter) -> None:
    published = await sent_over_http()
    assert published is not None
    assert published == trace_parent(published)
    assert published.endswith("-00")
    assert await sent_over_http(traceparent=published) == published
    assert memory.get_finished_spans() == ()


@pytest.mark.parametrize(("problem", "status"), [(None, 202), (Problem("x", status=409, code="x"), 409)])
async def test_the_span_of_a_request_has_its_status(
    memory: InMemorySpanExporter, problem: Problem | None, status: int
) -> None:
    published = await sent_over_http(traceparent=sampled()[1], problem=problem)
    span = only(memory)
    assert span.attributes is not None
    assert (span.attributes[names.STATUS], span.status.description) == (status, None)
    assert published is not None
    assert published.split("-")[1] == trace_of(span)


async def test_a_request_that_could_not_be_served_has_a_failed_span(memory: InMemorySpanExporter) -> None:
    await sent_over_http(traceparent=sampled()[1], problem=Problem("gone", status=503, code="broker-unavailable"))
    assert only(memory).status.description == "503"


async def test_a_request_is_untouched_while_nothing_is_recorded() -> None:
    assert await sent_over_http() is None


@pytest.fixture
def recording() -> Iterator[None]:
    yield
    tracing.end()


@pytest.mark.usefixtures("recording")
def test_while_the_receiver_is_gone_nothing_waits_and_the_queue_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    tracing.begin("worker", on=True, ratio=1.0)
    recorder = tracing.recorder
    assert recorder is not None
    _, parent = sampled()
    longest = 0.0
    for _ in range(3 * QUEUE):
        began = time.perf_counter()
        recorder.record("process x", SpanKind.CONSUMER, {}, parent=parent, at_ns=time.time_ns())
        longest = max(longest, time.perf_counter() - began)
    assert longest < 1.0
    batches = batches_of(recorder)
    assert len(batches._queue) <= QUEUE
    began = time.perf_counter()
    tracing.end()
    assert time.perf_counter() - began < tracing.FLUSH_S + 1.0
    batches._worker_thread.join(
        60
    )  # it goes on trying behind a process that ends, and would do so beside the next tests
    assert not batches._worker_thread.is_alive()


def batches_of(recorder: Recorder) -> Any:
    [processor] = recorder._tracer.span_processor._span_processors  # type: ignore[attr-defined]
    return processor._batch_processor


@pytest.mark.usefixtures("recording")
def test_what_is_queued_when_a_process_stops_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as found:
        for name, value in found.settings().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        tracing.begin("dead_letters", on=True, ratio=1.0)
        assert tracing.recorder is not None
        tracing.recorder.record("process x", SpanKind.CONSUMER, {}, at_ns=time.time_ns())
        tracing.end()
        [span] = found.spans
        assert (span.service, span.name) == ("tidemark-dead-letters", "process x")


STARTED_WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry.sdk"] = sys.modules["opentelemetry.exporter.otlp"] = None
from shared.runtime.process import execute

async def main(settings):
    print("it runs", flush=True)
    return 0

execute("worker", main)
"""


@pytest.mark.parametrize(
    ("traces", "code", "out", "error"),
    [
        ("off", 0, "it runs\n", ""),
        (
            "on",
            1,
            "",
            "worker: TIDEMARK_TRACES=on needs packages that are not installed (opentelemetry.exporter.otlp.proto): "
            "pip install 'tidemark[telemetry]'\n",
        ),
        ("perhaps", 1, "", None),
    ],
)
def test_without_the_extra_a_process_starts_unless_tracing_is_on(
    traces: str, code: int, out: str, error: str | None
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", dedent(STARTED_WITHOUT_THE_EXTRA)],
        env=os.environ | {"TIDEMARK_TRACES": traces},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, out)
    assert done.stderr == error if error is not None else done.stderr.count("\n") == 1


def test_logs_of_failures_name_the_trace_also_of_one_that_is_not_recorded() -> None:
    trace, traceparent = sampled("00")
    assert tracing.log_field(traceparent) == {"trace_id": trace}
    assert tracing.log_field(None) == tracing.log_field("garbage") == {}

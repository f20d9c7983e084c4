"""Gauges say what is known now: a problem for as long as it lasts, a figure until it cannot be read."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest

from shared.observability import metrics, sampling
from shared.observability.families import REGISTRY, Gauge
from shared.observability.sampling import Figures, HealthGauges
from shared.observability.targets import Target, parse, unparse


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture(autouse=True)
def unhealthy() -> Iterator[None]:
    yield
    for family in (metrics.UNHEALTHY, metrics.READY, metrics.SAMPLED_AT, metrics.JOBS):
        family.forget()


def test_a_component_has_been_unhealthy_since_its_problem_began() -> None:
    now = 100.0
    gauges = HealthGauges(["store", "consumer"], lambda: now)
    gauges.set({"store": "no answer"})
    now = 107.0
    gauges.set({"store": "still no answer"})
    assert value("tidemark_component_unhealthy_seconds", component="store") == 7
    assert value("tidemark_component_unhealthy_seconds", component="consumer") == 0
    assert value("tidemark_process_ready") == 0
    gauges.set({})
    now = 109.0
    gauges.set({"store": "again"})
    assert value("tidemark_component_unhealthy_seconds", component="store") == 0
    gauges.set({})
    assert value("tidemark_process_ready") == 1


def test_a_sampler_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise KeyError("bug")

    called = []
    sampling.sample([broken, lambda: called.append(1)])
    assert called == [1]
    assert "some gauges could not be set" in caplog.text


async def test_figures_that_cannot_be_read_are_removed_and_come_back() -> None:
    answers = [3.0, None, 4.0]
    gauge: Gauge = metrics.JOBS
    seen: list[float | None] = []
    enough = asyncio.Event()

    async def read() -> None:
        seen.append(value("tidemark_replay_jobs", state="running"))
        if len(seen) == 4:
            enough.set()
        answer = answers[len(seen) - 1] if len(seen) <= len(answers) else 5.0
        if answer is None:
            raise OSError("the database is unavailable")
        gauge.set(answer, "running")

    running = asyncio.create_task(Figures(read, gauge, every_s=0.001).run())
    async with asyncio.timeout(30):
        await enough.wait()
    running.cancel()
    assert seen[:4] == [None, 3.0, None, 4.0]


def test_no_gauge_is_exposed_before_it_is_known() -> None:
    metrics.begin("dead_letters")
    text = generate_latest(REGISTRY).decode()
    assert "tidemark_verify_last_success_timestamp_seconds " not in text
    assert "tidemark_build_info{" in text


def test_targets_are_read_as_they_are_written() -> None:
    targets = [Target("worker", "127.0.0.1", 21001), Target("worker", "::1", 9464), Target("query", "query-7", 9464)]
    assert parse("worker=127.0.0.1:21001, worker=[::1]:9464 query=query-7:9464") == targets
    assert parse(unparse(targets[:1])) == targets[:1]
    assert [each.url for each in targets] == [
        "http://127.0.0.1:21001/metrics",
        "http://[::1]:9464/metrics",
        "http://query-7:9464/metrics",
    ]


@pytest.mark.parametrize(
    "text", ["worker", "worker=", "worker=localhost", "=h:1", "worker=h:0", "worker=h:99999", "worker=h:x"]
)
def test_a_target_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="TIDEMARK_METRICS_TARGETS"):
        parse(text)

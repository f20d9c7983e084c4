"""``tidemark top``: rates from two readings, whatever was restarted meanwhile, and a screen that says which process is down."""

import asyncio
import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.observability.private.configuration import configuration
from deploy.observability.top.command import as_json, screen
from deploy.observability.top.scraping import Readings, Scrape, parsed
from shared.observability.exposition import Exposition
from shared.observability.targets import Target

SUMMARY = Target("summary", "127.0.0.1", 21001)
WORKER = Target("worker", "127.0.0.1", 21002)

BEFORE = """
process_cpu_seconds_total 10
tidemark_events_applied_total{projection="summary"} 100
tidemark_command_visible_seconds_bucket{projection="summary",le="0.1"} 50
tidemark_command_visible_seconds_bucket{projection="summary",le="1.0"} 100
tidemark_command_visible_seconds_bucket{projection="summary",le="+Inf"} 100
"""
NOW = """
process_cpu_seconds_total 10.5
process_resident_memory_bytes 104857600
tidemark_process_ready 0
tidemark_component_unhealthy_seconds{component="store"} 31
tidemark_component_unhealthy_seconds{component="queues"} 0
tidemark_events_applied_total{projection="summary"} 300
tidemark_projection_lag_seconds{projection="summary",lane="0"} 0.4
tidemark_projection_lag_seconds{projection="summary",lane="1"} 7.5
tidemark_streams_held{projection="summary",state="dead"} 3
tidemark_command_visible_seconds_bucket{projection="summary",le="0.1"} 50
tidemark_command_visible_seconds_bucket{projection="summary",le="1.0"} 299
tidemark_command_visible_seconds_bucket{projection="summary",le="+Inf"} 300
"""


def readings() -> Readings:
    before = [Scrape(SUMMARY, 100.0, parsed(BEFORE)), Scrape(WORKER, 100.0, error="ConnectError")]
    now = [Scrape(SUMMARY, 102.0, parsed(NOW)), Scrape(WORKER, 102.0, error="ConnectError: no \x1b[2Janswer")]
    return Readings(before, now)


def text_of(found: Readings) -> str:
    output = io.StringIO()
    Console(file=output, width=160).print(screen(found))
    return output.getvalue()


def test_rates_are_differences_by_the_time_between_two_readings() -> None:
    found = as_json(readings())
    summary = found["projections"]["summary"]
    assert summary == {"applied_per_second": 100.0, "lag_seconds": 7.5, "held": {"dead": 3.0}}
    process, down = found["processes"]
    assert (process["cpu"], process["memory_mib"], process["ready"]) == (0.25, 100.0, False)
    assert process["unhealthy"] == {"store": 31.0}
    assert down["error"].startswith("ConnectError")
    assert found["outbox"]["pending"] is None
    assert readings().quantile(0.99, "tidemark_command_visible_seconds", "projection") == {"summary": 1.0}


def test_a_restarted_process_counts_from_zero() -> None:
    series = 'tidemark_events_applied_total{projection="summary"} '
    found = Readings([Scrape(SUMMARY, 0.0, parsed(series + "5000\n"))], [Scrape(SUMMARY, 2.0, parsed(series + "6\n"))])
    assert found.rate("tidemark_events_applied_total", "projection") == {"summary": 3.0}


def test_several_processes_of_a_projector_add_their_rates_and_not_their_gauges() -> None:
    other = Target("summary", "127.0.0.1", 21009)
    before = [Scrape(each, 0.0, parsed(BEFORE)) for each in (SUMMARY, other)]
    now = [Scrape(each, 2.0, parsed(NOW)) for each in (SUMMARY, other)]
    summary = as_json(Readings(before, now))["projections"]["summary"]
    assert summary == {"applied_per_second": 200.0, "lag_seconds": 7.5, "held": {"dead": 3.0}}


def test_the_screen_says_what_is_wrong_and_cannot_be_taken_over() -> None:
    said = text_of(readings())
    for words in ("not ready", "store for 31 s", "down", "7.5 s", "≤ 1 s", "25 %", "100 MiB", "not known"):
        assert words in said, words
    assert "\x1b[2J" not in said


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.tuples(st.integers(0, 50), st.integers(0, 50))))
def test_no_rate_is_negative(counts: dict[str, tuple[int, int]]) -> None:
    def text(place: int) -> str:
        return "".join(f'x_total{{k="{key}"}} {pair[place]}\n' for key, pair in counts.items())

    found = Readings([Scrape(WORKER, 0.0, parsed(text(0)))], [Scrape(WORKER, 1.0, parsed(text(1)))])
    assert all(rate >= 0 for rate in found.rate("x_total", "k").values())


@pytest.fixture
def exposition() -> Iterator[Exposition]:
    served = Exposition("127.0.0.1", 0)
    yield served
    served.close()


async def top(*arguments: str) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["top", *arguments])
    return result.exit_code, result.output


async def test_it_reads_each_process_once_where_there_is_no_terminal(exposition: Exposition) -> None:
    host, port = exposition.address
    code, said = await top("--targets", f"worker={host}:{port}", "--output", "json")
    assert code == 0
    [process] = json.loads(said)["processes"]
    assert process["memory_mib"] > 1
    code, said = await top("--targets", f"worker={host}:{port} relay=127.0.0.1:1", "--once")
    assert code == 1
    assert "relay" in said
    assert "down" in said


async def test_wrong_targets_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await top("--targets", "worker"))[0] == 2
    assert (await top("--targets", ""))[0] == 3


def test_prometheus_is_given_every_target_by_its_deployable() -> None:
    targets = [SUMMARY, WORKER, Target("worker", "::1", 9464)]
    [job] = json.loads(configuration(targets, "/rules.yml"))["scrape_configs"]
    assert job["job_name"] == "tidemark"
    assert job["static_configs"] == [
        {"targets": ["127.0.0.1:21001"], "labels": {"deployable": "summary"}},
        {"targets": ["127.0.0.1:21002", "[::1]:9464"], "labels": {"deployable": "worker"}},
    ]

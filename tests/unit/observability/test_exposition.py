"""``/metrics``: served beside the event loop, whatever its clients do."""

import asyncio
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
from prometheus_client.parser import text_string_to_metric_families as parse_text

from shared.observability import metrics
from shared.observability.exposition import SPACING_S, CannotExposeError, Exposition


@pytest.fixture
def exposition() -> Iterator[Exposition]:
    served = Exposition("127.0.0.1", 0)
    yield served
    served.close()


def url(exposition: Exposition, path: str = "/metrics") -> str:
    host, port = exposition.address
    return f"http://{host}:{port}{path}"


async def get(
    exposition: Exposition, path: str = "/metrics", method: str = "GET", accept: str = "*/*"
) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.request(method, url(exposition, path), headers={"Accept": accept})


async def test_it_answers_only_for_metrics(exposition: Exposition) -> None:
    found = await get(exposition)
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "process_cpu_seconds_total" in found.text
    assert (await get(exposition, "/metrics?name=x")).status_code == 200
    assert (await get(exposition, "/")).status_code == 404
    assert (await get(exposition, "/metrics/../../etc/passwd")).status_code == 404
    assert (await get(exposition, method="POST")).status_code == 405
    assert (await get(exposition, method="HEAD")).content == b""


async def test_who_accepts_open_metrics_gets_it_with_the_trace_of_an_observation(exposition: Exposition) -> None:
    metrics.VISIBLE_SECONDS.observe_all([0.03, 0.04, 7.0], "summary")
    metrics.VISIBLE_SECONDS.exemplify(0.03, "a" * 32, "summary")
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    try:
        found, plain = await get(exposition, accept=accept), await get(exposition)
    finally:
        metrics.VISIBLE_SECONDS.forget()
    assert found.headers["content-type"].startswith("application/openmetrics-text")
    assert "openmetrics" not in plain.headers["content-type"]
    families = {each.name: each for each in parse(found.text)}  # type: ignore[no-untyped-call]
    family = families[metrics.VISIBLE_SECONDS.name]
    examples = {sample.labels["le"]: sample.exemplar for sample in family.samples if sample.exemplar}
    assert [(le, example.labels, example.value) for le, example in examples.items()] == [
        ("0.05", {"trace_id": "a" * 32}, 0.03)
    ]
    assert families.keys() == {each.name for each in parse_text(plain.text)}


@pytest.mark.parametrize(
    "sent", [b"", b"GET /metr", b"\x16\x03\x01\x02", b"\r\n\r\n", b"GET /" + 9000 * b"a", b"GET\r\n\r\n"]
)
async def test_a_client_that_sends_nothing_useful_does_not_keep_others_out(exposition: Exposition, sent: bytes) -> None:
    """It is dropped after two seconds, and then the next one is answered."""
    with socket.create_connection(exposition.address) as rude:
        rude.sendall(sent)
        assert (await get(exposition)).status_code == 200


async def test_a_client_that_does_not_read_does_not_keep_others_out(exposition: Exposition) -> None:
    with socket.create_connection(exposition.address) as rude:
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        rude.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert (await get(exposition)).status_code == 200


async def test_a_flood_of_requests_is_answered_no_faster_than_intended_and_the_event_loop_keeps_turning(
    exposition: Exposition,
) -> None:
    turns, began = 0, time.monotonic()
    until = began + 2

    async def ask() -> int:
        answered = 0
        while time.monotonic() < until:
            reader, writer = await asyncio.open_connection(*exposition.address)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            answered += (await reader.read(15)).startswith(b"HTTP/1.1 200")
            writer.close()
        return answered

    flood = [asyncio.create_task(ask()) for _ in range(8)]
    while time.monotonic() < until:
        await asyncio.sleep(0.01)
        turns += 1
    answered = sum(await asyncio.gather(*flood))
    assert 0 < answered <= (time.monotonic() - began) / SPACING_S + 1
    assert turns > 20


async def test_an_address_in_use_is_refused_in_one_line(exposition: Exposition) -> None:
    host, port = exposition.address
    with pytest.raises(CannotExposeError, match=rf"cannot serve metrics on {host} port {port}: "):
        Exposition(host, port)

"""The gateway's configuration in a real HAProxy, before servers that answer with what reached them."""

import asyncio
import contextlib
import json
import os
import re
import ssl
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.gateway.__main__ import CONFIGURATION
from deploy.servers import packages, programs
from deploy.servers.ports import free_port
from tests.front_door import Certificates, Gateway, certificates, running_gateway

pytestmark = pytest.mark.timeout(180)

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Echo:
    """A server that answers with its name, and with each request's line, headers and body. ``healthy``: what it says of itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy = True
        self.bodies: list[bytes] = []
        self.requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.decode().split("\r\n")[:-2]
                headers = [(name.lower(), value) for name, _, value in (field.partition(": ") for field in fields)]
                body = await reader.readexactly(int(dict(headers).get("content-length", 0)))
                status = 200 if self.healthy else 503
                if " /health/" not in line:
                    self.requests += 1
                    self.bodies.append(body)
                told = {"name": self.name, "line": line, "headers": headers}
                answer = json.dumps(told).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
                    + answer
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def echoing(name: str) -> AsyncIterator[tuple[Echo, str]]:
    """The server, and its address."""
    echo, port = Echo(name), free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    try:
        yield echo, f"127.0.0.1:{port}"
    finally:
        server.close()


@asynccontextmanager
async def front(tmp_path: Path, *, tls: Certificates | None = None, **settings: object) -> AsyncIterator[Gateway]:
    async with echoing("queries") as (_, queries), echoing("commands") as (_, commands):
        log = tmp_path / "gateway.log"
        async with running_gateway(log, queries=queries, commands=commands, tls=tls, **settings) as gateway:
            yield gateway


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:tidemark:problem:{document['code']}"
    return response.status_code, document["code"]


async def test_each_path_goes_to_its_service_and_health_is_the_gateway_s_own(tmp_path: Path) -> None:
    async with front(tmp_path) as gateway:

        async def reached(path: str) -> str:
            return str((await gateway.client.get(path)).json()["name"])

        for path in (
            *("/commands/orders.place-order", "/commands/x?source=y", "/scheduled-commands", "/streams/orders/o-1"),
            *("/contracts", "/schema/commands", "/schema/commands/openapi.json"),
        ):
            assert await reached(path) == "commands", path
        for path in (
            *("/orders/o-1", "/", "/schema", "/schema/openapi.json", "/schema/commandsx", "/commandsx", "/console"),
            *("/console/commands", "/events", "/Commands/x"),
        ):
            assert await reached(path) == "queries", path
        for path in ("/health", "/health/ready", "/health/ready/x", "/metrics", "/metrics/x"):
            assert problem(await gateway.client.get(path)) == (404, "no-such-route"), path
        for path, status in (("/health/live", "live"), ("/health/serving", "serving")):
            response = await gateway.client.get(path)
            assert (response.status_code, response.json()) == (200, {"status": status})


async def test_what_a_client_says_about_itself_is_replaced_and_the_rest_passes_as_it_is(tmp_path: Path) -> None:
    async with front(tmp_path) as gateway:
        trace = f"00-{'a' * 32}-{'b' * 16}-01"
        sent = {"traceparent": trace, "tracestate": "x=1", "Authorization": "Bearer tmk_1", "Host": "shop.example.org"}
        spoofed = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "Forwarded": "for=1.2.3.4"}
        response = await gateway.client.get("/orders?q=%2F", headers=sent | spoofed | {"X-Request-Id": "mine-1"})
        document = response.json()
        headers: list[tuple[str, str]] = [tuple(each) for each in document["headers"]]
        assert document["line"] == "GET /orders?q=%2F HTTP/1.1"
        assert [value for name, value in headers if name.startswith(("x-forwarded", "forwarded"))] == [
            "http",
            "127.0.0.1",
        ]
        assert {(name.lower(), value) for name, value in sent.items()} <= set(headers)
        assert ("x-request-id", "mine-1") in headers
        assert response.headers["x-request-id"] == "mine-1"
        assert "server" not in response.headers


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, "a\tb", 'a"b'])
async def test_a_request_without_a_sound_id_gets_one_which_its_answer_and_the_service_have(
    tmp_path: Path, given: str | None
) -> None:
    async with front(tmp_path) as gateway:
        response = await gateway.client.get("/orders", headers={} if given is None else {"X-Request-Id": given})
        made = response.headers["x-request-id"]
        assert UUID.fullmatch(made)
        assert [value for name, value in response.json()["headers"] if name == "x-request-id"] == [made]
        refused = await gateway.client.get("/metrics")
        assert UUID.fullmatch(refused.headers["x-request-id"])
        async with asyncio.timeout(30):
            while f"request_id={refused.headers['x-request-id']}" not in gateway.log.read_text():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)


async def test_each_key_and_each_address_has_a_limit_and_the_others_go_on(tmp_path: Path) -> None:
    async with front(tmp_path, requests_per_key=5) as gateway:

        async def ask(key: str) -> httpx.Response:
            return await gateway.client.get("/orders", headers={"Authorization": f"Bearer {key}"})

        answers = [
            await ask("robot") for _ in range(10)
        ]  # a slow machine may take longer than the interval that is counted
        assert [answer.status_code for answer in answers[:5]] == [200] * 5
        refused = next(answer for answer in answers if answer.status_code != 200)
        assert problem(refused) == (429, "rate-limited")
        assert refused.headers["retry-after"] == "5"
        assert (await ask("shop")).status_code == 200
        assert (await gateway.client.get("/orders")).status_code == 200
        assert "robot" not in gateway.log.read_text()
    async with front(tmp_path, requests_per_address=5) as gateway:
        found = [(await gateway.client.get("/orders")).status_code for _ in range(10)]
        assert (found[:5], set(found[5:]) <= {200, 429}, 429 in found) == ([200] * 5, True, True)
    async with front(tmp_path, connections_per_address=3) as gateway:
        held = [await gateway.connect("") for _ in range(3)]
        with contextlib.suppress(ConnectionError):  # refused at once, or after it was made
            one_more, writer = await gateway.connect("")
            await asyncio.wait_for(closed(one_more), 30)
            writer.close()
        assert not any(reader.at_eof() for reader, _ in held)
        for _, writer in held:
            writer.close()
        answer = b""
        async with asyncio.timeout(30):
            while b" 200 " not in answer:  # until the gateway has seen that the others are closed
                with contextlib.suppress(ConnectionError):
                    answer = await gateway.answer("GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")


async def closed(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()


async def test_slow_senders_are_cut_and_nothing_of_them_reaches_a_service(tmp_path: Path) -> None:
    async with (
        echoing("queries") as (_, queries),
        echoing("commands") as (echo, commands),
        running_gateway(tmp_path / "log", queries=queries, commands=commands) as gateway,
    ):
        begun = "POST /commands/x HTTP/1.1\r\nHost: localhost\r\n"
        slow_head = gateway.answer(begun)
        slow_body = gateway.answer(f"{begun}Content-Length: 1000\r\n\r\n{{")
        found = await asyncio.gather(slow_head, slow_body)
        assert [answer[:13] for answer in found] == [b"HTTP/1.1 408 "] * 2
        assert json.loads(found[1].partition(b"\r\n\r\n")[2])["code"] == "request-too-slow"
        assert (await gateway.client.post("/commands/x", content=b"x" * 1_000_000)).status_code == 200
        assert [len(body) for body in echo.bodies] == [1_000_000]


async def test_while_no_instance_is_healthy_answers_are_prompt_problems_and_the_other_service_goes_on(
    tmp_path: Path,
) -> None:
    async with (
        echoing("queries") as (echo, queries),
        echoing("commands") as (_, commands),
        running_gateway(tmp_path / "log", queries=queries, commands=commands) as gateway,
    ):

        async def until(status: int, path: str) -> httpx.Response:
            async with asyncio.timeout(30):
                while (response := await gateway.client.get(path)).status_code != status:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            return response

        await until(200, "/health/serving")
        echo.healthy = False
        assert problem(await until(503, "/health/serving")) == (503, "service-unavailable")
        async with asyncio.timeout(5):
            refused = await gateway.client.get("/orders/a%22b?q=secret")
        assert problem(refused) == (503, "service-unavailable")
        assert (refused.json()["instance"], refused.headers["retry-after"]) == ("/orders/a%22b", "1")
        assert "secret" not in gateway.log.read_text()
        assert (await gateway.client.get("/commands/x")).json()["name"] == "commands"
        echo.healthy = True
        await until(200, "/health/serving")


async def test_a_command_is_never_sent_twice_by_the_gateway_and_a_query_is_asked_again(tmp_path: Path) -> None:
    """A server that takes each request and dies of it, beside one that answers."""
    taken: list[bytes] = []

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" /health/" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        else:
            taken.append(head)
        writer.close()

    port = free_port()
    deadly = await asyncio.start_server(die, "127.0.0.1", port)
    async with echoing("sound") as (echo, sound):
        both = {
            "queries": f"127.0.0.1:{port}",
            "queries_2": sound,
            "commands": f"127.0.0.1:{port}",
            "commands_2": sound,
        }
        async with running_gateway(tmp_path / "log", **both) as gateway:  # type: ignore[arg-type]
            for number in range(10):
                assert (await gateway.client.get(f"/orders/{number}")).status_code == 200
            assert taken
            taken.clear()
            before = echo.requests
            answered = [await status_of(gateway, number) for number in range(10)]
            assert set(answered) == {200, 502}
            assert len(taken) + echo.requests - before == 10
    deadly.close()


async def status_of(gateway: Gateway, number: int) -> int:
    """Of a command; a connection that is closed without an answer says the same as a 502: whether it was done is unknown."""
    with contextlib.suppress(httpx.RemoteProtocolError):
        return (await gateway.client.post(f"/commands/{number}", json={})).status_code
    return 502


async def test_over_tls_old_protocols_and_unencrypted_requests_are_refused_and_browsers_are_to_stay(
    tmp_path: Path,
) -> None:
    made = certificates(tmp_path)
    async with front(tmp_path, tls=made) as gateway:
        response = await gateway.client.get("/orders")
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        assert ["x-forwarded-proto", "https"] in response.json()["headers"]
        async with httpx.AsyncClient(trust_env=False) as stranger:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.get(f"{gateway.url}/orders")
        negotiated = ssl.create_default_context(cafile=made.authority)
        negotiated.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=negotiated)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()
        old = ssl.create_default_context(cafile=made.authority)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", gateway.port, ssl=old, server_hostname="localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /orders HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


async def test_the_configuration_is_sound_also_with_replicas_found_by_name(tmp_path: Path) -> None:
    packages.install_missing(packages.GATEWAY)
    environ = {"REPLICAS": "8", "QUERIES": "localhost:8080", "COMMANDS": "localhost:8081", "SOCKET": f"{tmp_path}/s"}
    process = await asyncio.create_subprocess_exec(
        *(str(programs.haproxy()), "-c", "-f", str(CONFIGURATION)),
        env=programs.environment() | {f"TIDEMARK_GATEWAY_{name}": value for name, value in environ.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert (process.returncode, b"WARNING" in output) == (0, False), output


async def test_it_refuses_to_open_a_system_without_authentication_to_other_machines(tmp_path: Path) -> None:
    environ = {**os.environ, "TIDEMARK_AUTH": "off", "TIDEMARK_GATEWAY_BIND": f"0.0.0.0:{free_port()}"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.gateway"), env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode().startswith("gateway: TIDEMARK_AUTH=off is for this machine alone")

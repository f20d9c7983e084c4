"""Private servers start, survive a kill on the same data, and are gone at the end, however the end came."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aio_pika
import asyncpg
import psutil
import pytest
from pydantic.fields import FieldInfo
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from deploy.run import http_ports
from deploy.servers import leftovers, packages, ports
from deploy.servers.accounts import databases
from deploy.servers.errors import ServersError
from deploy.servers.postgres import Postgres
from deploy.servers.private import PrivateServers, private_servers
from deploy.servers.provide import Servers, from_environment, provide
from deploy.servers.rabbitmq import RabbitMQ
from shared.read_models import IN_POSTGRES
from shared.runtime.settings import Settings

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(bool(packages.missing()), reason="the servers' programs are not on this machine"),
]

OWNER_PROCESS = """
import sys, time
from deploy.servers.postgres import Postgres
from deploy.servers.private import private_servers
with private_servers() as servers:
    print(servers.root, flush=True)
    time.sleep(120)
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIDEMARK_SERVERS", "private")
        with provide() as provided:
            yield provided


@pytest.fixture
def private(servers: Servers) -> PrivateServers:
    assert servers.private is not None
    return servers.private


async def test_every_url_leads_to_a_server_of_its_own(servers: Servers) -> None:
    for url in (servers.write_db_url, servers.stores["summary"], servers.stores["search"], servers.operations_db_url):
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        await connection.close()
    async with Redis.from_url(servers.stores["analytics"]) as redis:
        assert (await redis.config_get("appendfsync")) == {"appendfsync": "always"}
    await (await aio_pika.connect(servers.rabbitmq_url)).close()


async def test_a_reader_reads_the_read_stores_only(servers: Servers) -> None:
    connection = await asyncpg.connect(servers.reader_stores["summary"])
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("CREATE TABLE mine (id int)")
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(servers.reader_stores["summary"].removesuffix("tidemark_read") + "tidemark_write")
    async with Redis.from_url(servers.reader_stores["analytics"]) as redis:
        assert await redis.get("analytics:nothing") is None
        with pytest.raises(NoPermissionError):
            await redis.set("something", "1")


def test_the_query_services_settings_name_no_write_database_and_no_writer(servers: Servers) -> None:
    assert set(servers.environ_of("query")) == set(servers.environ()) & {
        "TIDEMARK_RABBITMQ_URL",
        "TIDEMARK_SUMMARY_DB_URL",
        "TIDEMARK_SEARCH_DB_URL",
        "TIDEMARK_TELEMETRY_DB_URL",
        "TIDEMARK_OPERATIONS_DB_URL",
        "TIDEMARK_PROCESSES_DB_URL",
        "TIDEMARK_ANALYTICS_REDIS_URL",
    }
    stores = [url for name, url in servers.environ_of("query").items() if name != "TIDEMARK_RABBITMQ_URL"]
    assert all("//tidemark_reader:" in url or "//reader:" in url for url in stores)


async def test_nobody_gets_in_without_a_password(servers: Servers, private: PrivateServers) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(host="127.0.0.1", port=private.postgres.port, user="tidemark", password="wrong")  # noqa: S106
    async with Redis(host="127.0.0.1", port=private.redis.port) as redis:
        for command in ("GET anything", "AUTH default ", "AUTH default anything"):
            with pytest.raises(AuthenticationError):
                await redis.execute_command(*command.split(" "))  # type: ignore[no-untyped-call]
    with pytest.raises(aio_pika.exceptions.ProbableAuthenticationError):
        await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{private.rabbitmq.port}/")


def test_the_servers_listen_on_loopback_only_and_below_the_ephemeral_ports(private: PrivateServers) -> None:
    processes = [psutil.Process(json.loads(path.read_text())["pid"]) for path in private.root.glob("*/process.json")]
    listening = [
        connection.laddr
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}
    assert all(ports.LOWEST <= address.port <= ports.HIGHEST for address in listening)


async def test_what_was_acknowledged_survives_kill_and_restart(servers: Servers, private: PrivateServers) -> None:
    connection = await asyncpg.connect(servers.write_db_url)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    async with Redis.from_url(servers.stores["analytics"]) as redis:
        await redis.set("kept", "42")
        await redis.eval("redis.call('SET', 'both', 1) redis.call('SET', 'written', 1)", 0)  # a transaction in the file
    broker = await aio_pika.connect(servers.rabbitmq_url)
    channel = await broker.channel()
    await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
    await _registered(private.rabbitmq, "kept")
    await channel.default_exchange.publish(
        aio_pika.Message(b"42", delivery_mode=aio_pika.DeliveryMode.PERSISTENT), "kept"
    )
    await broker.close()

    for server in private.all:
        server.kill()
        assert not server.running
    connection.terminate()
    for server in private.all:
        server.start()
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda server: server.wait_ready(30), private.all))

    connection = await asyncpg.connect(servers.write_db_url)
    assert await connection.fetchval("SELECT answer FROM kept") == 42
    await connection.close()
    async with Redis.from_url(servers.stores["analytics"]) as redis:
        assert await redis.get("kept") == b"42"
        assert await redis.mget("both", "written") == [b"1", b"1"]
    assert await _first_message(servers.rabbitmq_url, "kept") == b"42"


async def _registered(node: RabbitMQ, queue: str) -> None:
    """Return once the name of a new quorum queue is on disk.

    RabbitMQ writes it some tenths of a second after it has confirmed the declaration. Killed in between, it knows two
    identities for the queue afterwards, elects no leader, and leaves every request to it unanswered (seen on 3.10.8).
    """
    async with asyncio.timeout(10):
        while not any(queue.encode() in path.read_bytes() for path in node.data.glob("*/quorum/*/names.dets")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _first_message(url: str, name: str) -> bytes:
    broker = await aio_pika.connect(url)
    try:
        queue = await (await broker.channel()).get_queue(name)
        return (await queue.get(timeout=20)).body
    finally:
        await broker.close()


async def test_a_frozen_server_says_nothing_until_it_is_thawed(servers: Servers, private: PrivateServers) -> None:
    async with Redis.from_url(servers.stores["analytics"], socket_timeout=0.2, retry=None) as redis:
        private.redis.freeze()
        with pytest.raises(RedisTimeoutError):
            await redis.ping()
    private.redis.thaw()
    async with Redis.from_url(servers.stores["analytics"]) as redis:
        assert await redis.ping()


def test_servers_and_their_folder_are_gone_when_the_owner_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER_PROCESS], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        root = Path(owner.stdout.readline().strip())
        records = [leftovers.read(path) for path in root.glob("*/process.json")]
        assert len(records) == 4
        assert all(leftovers.alive(record) for record in records)
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (root.exists() or any(leftovers.alive(record) for record in records)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(leftovers.alive(record) for record in records)
    assert not root.exists()


def test_the_next_start_clears_what_a_dead_owner_left(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["/bin/sleep", "60"])
    dead = subprocess.Popen(["/bin/true"])
    left = tmp_path / f"{leftovers.PREFIX}dead"
    (left / "redis").mkdir(parents=True)
    leftovers.write(left / "redis" / leftovers.PROCESS, **leftovers.identity(sleeper.pid))
    leftovers.write(left / leftovers.OWNER, **leftovers.identity(dead.pid), temporary=True)
    dead.wait()
    living = tmp_path / f"{leftovers.PREFIX}living"
    living.mkdir()
    leftovers.write(living / leftovers.OWNER, **leftovers.identity(os.getpid()), temporary=True)

    leftovers.clear_all(tmp_path)

    assert sleeper.wait(5) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [living.name]


def test_a_recorded_pid_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    other = subprocess.Popen(["/bin/sleep", "60"])
    leftovers.write(tmp_path / "redis" / leftovers.PROCESS, pid=other.pid, started=time.time() - 1_000)
    leftovers.stop_servers(tmp_path)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_folder_has_one_owner_at_a_time(private: PrivateServers) -> None:
    with pytest.raises(ServersError, match="in use"), private_servers(private.root):
        pass
    assert all(server.running for server in private.all)


async def test_data_outlive_their_servers_in_a_folder_that_is_kept(private: PrivateServers) -> None:
    folder = private.root / "kept" / "postgres"
    folder.mkdir(parents=True)
    first, second = Postgres(folder), Postgres(folder)
    for server, statement in ((first, "CREATE TABLE kept (id int)"), (second, "DROP TABLE kept")):
        server.start()
        await asyncio.to_thread(server.wait_ready)
        connection = await asyncpg.connect(server.url("tidemark_write"))
        await connection.execute(statement)
        await connection.close()
        server.stop()
    assert first.port == second.port


def test_servers_of_a_folder_that_is_kept_have_the_ports_they_had_unless_they_are_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [server.port for server in PrivateServers(tmp_path).all]
    with socket.create_server(("127.0.0.1", before[2])), private_servers(tmp_path) as servers:
        after = [server.port for server in servers.all]
    assert after[:2] == before[:2]
    assert after[2] != before[2]
    assert f"tidemark: Redis: port {before[2]} is taken, it is {after[2]} from now on" in capfd.readouterr().err
    assert [server.port for server in PrivateServers(tmp_path).all] == after
    kept = [tmp_path / name / "ports.json" for name in ("rabbitmq", "postgres", "redis")]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)


def test_http_is_served_where_it_is_documented_unless_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = ports.free_port()
    monkeypatch.setitem(Settings.model_fields, "query_port", FieldInfo(annotation=int, default=documented))
    monkeypatch.setenv("TIDEMARK_COMMAND_PORT", "8765")
    assert http_ports.choose(tmp_path) == (
        {"TIDEMARK_QUERY_PORT": str(documented), "TIDEMARK_COMMAND_PORT": "8765"},
        [],
    )
    with socket.create_server(("127.0.0.1", documented)):
        chosen, said = http_ports.choose(tmp_path)
        other = int(chosen["TIDEMARK_QUERY_PORT"])
        assert other != documented
        assert said == [f"port {documented} is taken: queries are on {other}"]
        assert http_ports.choose(tmp_path)[0] == chosen
        monkeypatch.setenv("TIDEMARK_QUERY_PORT", str(documented))
        assert http_ports.choose(tmp_path)[0]["TIDEMARK_QUERY_PORT"] == str(documented)
        monkeypatch.setenv("TIDEMARK_QUERY_PORT", "0")
        assert http_ports.choose(tmp_path)[0] == chosen
    monkeypatch.delenv("TIDEMARK_QUERY_PORT")
    assert http_ports.choose(tmp_path)[0]["TIDEMARK_QUERY_PORT"] == str(documented)


async def test_a_read_model_stays_in_the_database_that_an_older_version_made_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    server = Postgres(folder)
    try:
        await asyncio.to_thread(_started, server)
        assert server.read_databases == {model.name: databases.READ for model in IN_POSTGRES}
        connection = await asyncpg.connect(server.admin_url())
        await connection.execute("CREATE DATABASE tidemark_search OWNER tidemark")
        await connection.close()
        await asyncio.to_thread(server.stop)
        server = Postgres(folder)
        await asyncio.to_thread(_started, server)
        assert server.read_databases == {
            model.name: "tidemark_search" if model.name == "search" else databases.READ for model in IN_POSTGRES
        }
    finally:
        await asyncio.to_thread(server.stop, discard_data=True)


def _started(server: Postgres) -> None:
    server.start()
    server.wait_ready()


def test_the_environment_names_all_servers_or_none() -> None:
    names = (
        *("RABBITMQ_URL", "WRITE_DB_URL", "OPERATIONS_DB_URL", "PROCESSES_DB_URL", "KEYS_DB_URL"),
        *("SUMMARY_DB_URL", "SEARCH_DB_URL", "TELEMETRY_DB_URL"),
    )
    given = {f"TIDEMARK_{name}": f"x://{name}" for name in names}
    assert from_environment({}) is None
    with pytest.raises(ServersError, match="TIDEMARK_ANALYTICS_REDIS_URL"):
        from_environment(given)
    given["TIDEMARK_ANALYTICS_REDIS_URL"] = "redis://a"
    given["TIDEMARK_SUMMARY_READER_URL"] = "x://reader"
    found = from_environment(given)
    assert found is not None
    assert found.environ_of("query")["TIDEMARK_SUMMARY_DB_URL"] == "x://reader"
    assert found.environ_of("query")["TIDEMARK_SEARCH_DB_URL"] == "x://SEARCH_DB_URL"
    given["TIDEMARK_READ_DB_URL"] = "x://all"
    del given["TIDEMARK_SEARCH_DB_URL"], given["TIDEMARK_TELEMETRY_DB_URL"], given["TIDEMARK_PROCESSES_DB_URL"]
    found = from_environment(given)
    assert found is not None
    assert found.processes_db_url == found.environ_of("query")["TIDEMARK_PROCESSES_DB_URL"] == "x://all"
    assert found.stores == {"summary": "x://SUMMARY_DB_URL", "analytics": "redis://a"} | dict.fromkeys(
        ("search", "telemetry"), "x://all"
    )


def test_ports_are_free_below_32768_and_never_given_twice() -> None:
    given = [ports.free_port() for _ in range(50)]
    assert len(set(given)) == 50
    assert max(given) < 32_768
    with socket.create_server(("127.0.0.1", given[0])):
        assert not ports.is_free(given[0])

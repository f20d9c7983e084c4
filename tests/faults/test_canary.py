"""Two hundred persons are erased in one go, with their data in every kind of place: nothing of them is left anywhere, and no backup brings
them back.

What is searched: dumps of every database, Redis's append-only file after a rewrite, every message of every queue, every log and health
file. The files of the servers themselves are not: deleted rows stay in a table's pages until vacuum.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.cli.projections.control_requests import send_request
from deploy.compare.stores import open_store
from deploy.demo.system import settings_for
from deploy.erasure.stores import databases as urls_of
from deploy.run.deployables import DEPLOYABLES
from deploy.servers import programs
from deploy.servers.accounts import databases
from deploy.servers.provide import CHOICE
from shared.contracts.privacy import ERASE_SUBJECT
from shared.contracts.registry import PERSONS
from shared.messages.control import Activate, Rebuild
from shared.messaging import topology
from shared.views.generations import GenerationsChanged
from tests.canary import MARK, PERSONAL, Canaries, address_of, text_of
from tests.e2e.bus import encode, envelope
from tests.e2e.system import System, own_servers, running_system

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EACH: Final = 50
"""Persons of each kind."""
KINDS: Final = ("customers", "users", "patients", "doctors")
SUBJECTS: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in range(EACH))
POISONED: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in (3, 4))
"""Whose events the summary cannot apply."""
DISLIKED: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in (5, 6))
"""Whose rows the summary's database refuses, with an error that quotes them."""
BROKEN: Final = tuple(f"{kind}/{kind[0]}-{number}" for kind in KINDS for number in (7, 8))
"""Whose second command the write database refuses: a dead command."""
WITHIN_S: Final = 60.0
SOON_S: Final = 240.0
AT_ONCE: Final = 25

DISLIKE: Final = """
ALTER TABLE summary.{table} ADD CONSTRAINT disliked CHECK ({key} <> ALL ('{{{ids}}}'::text[]) OR doc::text !~ '{mark}')
"""
BREAK: Final = """
CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'this is wrong: %', NEW.envelope; END $$;
CREATE TRIGGER break_it BEFORE INSERT ON events FOR EACH ROW
    WHEN (NEW.version = 2 AND NEW.stream = ANY ('{{{streams}}}'::text[])) EXECUTE FUNCTION break_it()
"""
PATTERN: Final = f"{MARK[:1]}[{MARK[1]}]{MARK[2:]}"
"""Finds MARK, and does not have it."""
MEND: Final = "DROP TRIGGER break_it ON events; DROP FUNCTION break_it()"


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    monkeypatch.setenv(CHOICE, "private")
    monkeypatch.setenv("TIDEMARK_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TIDEMARK_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("TIDEMARK_POISON", f"summary:{' '.join(POISONED)}")
    monkeypatch.setenv("TIDEMARK_SUMMARY_RETRIES", "1")
    with own_servers() as servers:
        for name, url in servers.environ().items():
            monkeypatch.setenv(name, url)
        async with running_system(servers, tmp_path / "output.log") as system:
            yield system


class Sender:
    """Sends commands, and has the canaries know of them."""

    def __init__(self, system: System, canaries: Canaries) -> None:
        self._system = system
        self._canaries = canaries

    async def command(self, name: str, data: dict[str, Any], subject: str | None = None, **more: Any) -> dict[str, Any]:
        self._canaries.sent(name, data, subject)
        attributes = more if subject is None else {"subject": subject, **more}
        return await self._system.bus.command(name, data, **attributes)

    async def accepted(self, name: str, data: dict[str, Any], subject: str | None = None) -> None:
        found = await self.command(name, data, subject)
        assert found["type"] == "command.accepted", found

    async def rejected(
        self, code: str, name: str, data: dict[str, Any], subject: str | None = None, **more: Any
    ) -> None:
        found = await self.command(name, data, subject, **more)
        assert found.get("code") == code, found
        assert MARK not in str(found["errors"]), "quoted"

    async def over_http(self, name: str, data: dict[str, Any], subject: str) -> int:
        self._canaries.sent(name, data, subject)
        answer = await self._system.commands.post(f"/commands/{name}", params={"subject": subject}, json=data)
        return answer.status_code

    async def lost(self, name: str, data: dict[str, Any], subject: str) -> None:
        """Without an id: a dead letter."""
        self._canaries.sent(name, data, subject)
        body = {"type": name, "subject": subject, "source": "tests", "data": data}
        await self._system.bus.put(topology.COMMAND_QUEUE, json.dumps(body).encode())

    async def not_awaited(self, name: str, data: dict[str, Any], subject: str) -> None:
        self._canaries.sent(name, data, subject)
        await self._system.bus.send(encode(envelope(name, data, subject=subject)), routing_key=name)


REGISTER: Final = {
    "customers": ("customers.register-customer", "customer_id", {}),
    "users": ("accounts.create-user", "user_id", {"role": "clerk"}),
    "patients": ("bookings.register-patient", "patient_id", {}),
    "doctors": ("bookings.register-doctor", "doctor_id", {"speciality": "Skin"}),
}
RENAME: Final = {
    "customers": "customers.rename-customer",
    "users": "accounts.rename-user",
    "patients": "bookings.rename-patient",
    "doctors": "bookings.rename-doctor",
}
CHANGE_EMAIL: Final = {"customers": "customers.change-email", "users": "accounts.change-email"}
EXISTS: Final = {
    "customers": "customer-already-registered",
    "users": "user-already-exists",
    "patients": "patient-already-registered",
    "doctors": "doctor-already-registered",
}


async def live(sender: Sender, person: str) -> None:
    """All that a person goes through: accepted, rejected in every way, scheduled, dead."""
    kind, _, own_id = person.partition("/")
    register, key, more = REGISTER[kind]
    new = {key: own_id, "name": text_of(person, "name"), **more}
    if kind != "doctors":
        new["email"] = address_of(person, "email")
    await sender.accepted(register, new)
    if person in BROKEN:
        await sender.not_awaited(RENAME[kind], {"name": text_of(person, "broken")}, own_id)
        return
    await sender.accepted(RENAME[kind], {"name": text_of(person, "renamed")}, own_id)
    if change := CHANGE_EMAIL.get(kind):
        await sender.accepted(change, {"email": address_of(person, "changed")}, own_id)
        await sender.rejected("validation-failed", change, {"email": text_of(person, "no address")}, own_id)
    if kind == "customers":
        review = {"review_id": f"r-{own_id}", "rating": 5, "text": text_of(person, "review"), "customer_id": own_id}
        await sender.accepted("catalog.add-review", review, "t-1")
        line = {"product_id": "t-1", "quantity": 1, "amount": 499}
        order = {"order_id": f"o-{own_id}", "customer_id": own_id, "currency": "EUR", "lines": [line]}
        await sender.accepted("orders.place-order", order)
    await sender.rejected(EXISTS[kind], register, {**new, "name": text_of(person, "again")})
    await sender.rejected(
        "version-conflict", RENAME[kind], {"name": text_of(person, "conflict")}, own_id, expectedversion=99
    )
    wrong = {"name": text_of(person, "wrong"), "unknown": text_of(person, "field")}
    await sender.rejected("validation-failed", RENAME[kind], wrong, own_id)
    assert await sender.over_http(RENAME[kind], {"name": text_of(person, "by HTTP")}, own_id) == 202
    assert await sender.over_http(RENAME[kind], wrong, own_id) == 422
    later = await sender.command(
        RENAME[kind], {"name": text_of(person, "later")}, own_id, notbefore="2090-01-01T00:00:00Z"
    )
    assert later["reason"] == "scheduled"
    await sender.lost(RENAME[kind], {"name": text_of(person, "lost")}, own_id)


async def in_groups(work: Callable[[str], Awaitable[None]]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(person: str) -> None:
        async with limit:
            await work(person)

    async with asyncio.TaskGroup() as group:
        for person in SUBJECTS:
            group.create_task(one(person))


class Places:
    """All places where something may be left, as bytes. The system is not running meanwhile."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system = system
        self._folder = folder
        assert system.servers.private is not None
        self.private = system.servers.private

    async def left(self, canaries: Canaries) -> list[str]:
        found = []
        for place, content in [*await self.dumps(), *await self.append_only(), *await self.messages(), *self.files()]:
            found += [f"{place}: {each}" for each in canaries.found_in(content)]
        return found

    async def dumps(self) -> list[tuple[str, bytes]]:
        found = []
        for name, url in urls_of(settings_for(self._system.servers)).items():
            found.append((f"database {name}", await program("pg_dump", self.admin_url(url))))
        return found

    async def append_only(self) -> list[tuple[str, bytes]]:
        async with Redis.from_url(self._system.servers.stores["analytics"]) as redis:
            # Otherwise texts are compressed in the file.
            await redis.config_set("rdbcompression", "no")
            await redis.bgrewriteaof()
            async with asyncio.timeout(30):
                while await is_rewriting(redis):  # noqa: ASYNC110 - another process decides
                    await asyncio.sleep(0.1)
        files = [path for path in self.private.redis.data.rglob("*") if path.is_file()]
        assert files
        return [(f"Redis {path.name}", path.read_bytes()) for path in files]

    async def messages(self) -> list[tuple[str, bytes]]:
        """Every message of every queue; all go back."""
        found = []
        connection = await aio_pika.connect(self._system.servers.rabbitmq_url, timeout=10)
        async with connection:
            for queue in topology.declarations(lanes=4).queues:
                async with asyncio.timeout(60):
                    found += [(f"queue {queue.name}", each) for each in await peek(connection, queue.name)]
        return found

    def files(self) -> list[tuple[str, bytes]]:
        """Logs of the deployables and of the servers, and health files."""
        logs = [path for path in self.private.root.rglob("*.log") if path.is_file()]
        logs += [path for path in self.private.postgres.data.rglob("*.log") if path.is_file()]
        own = [path for path in self._folder.iterdir() if path.is_file()]
        assert logs
        return [(str(path), path.read_bytes()) for path in {*logs, *own}]

    def admin_url(self, url: str) -> str:
        return self.private.postgres.admin_url(urlsplit(url).path.removeprefix("/"))

    async def back_up(self, database: str, to: Path) -> None:
        await program("pg_dump", "--format=custom", f"--file={to}", self.private.postgres.admin_url(database))

    async def restore(self, backup: Path) -> None:
        """While nothing runs."""
        await program(
            "pg_restore", "--clean", "--if-exists", "--create", "--exit-on-error",
            f"--dbname={self.private.postgres.admin_url()}", str(backup),
        )  # fmt: skip


async def is_rewriting(redis: Redis) -> bool:
    state = await redis.info("persistence")
    return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])


async def peek(connection: aio_pika.abc.AbstractConnection, name: str) -> list[bytes]:
    """The bodies and headers of all messages of a queue without other consumers."""
    channel = await connection.channel()
    queue = await channel.get_queue(name, ensure=False)
    count = (await channel.declare_queue(name, passive=True)).declaration_result.message_count or 0
    found: list[bytes] = []
    got = asyncio.Event()

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        found.append(message.body + repr(message.info()).encode())
        if len(found) >= count:
            got.set()

    if count:
        await queue.consume(take)
        await got.wait()
    await channel.close()
    return found


async def program(name: str, *arguments: str) -> bytes:
    process = await asyncio.create_subprocess_exec(
        str(programs.postgres_folder() / name),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, wrong.decode()
    return said


async def stop(system: System) -> None:
    await asyncio.gather(*(system.supervisor.kill(name) for name in DEPLOYABLES if system.supervisor.running(name)))


async def start(system: System) -> None:
    await asyncio.gather(*(system.supervisor.restart(name) for name in DEPLOYABLES))


async def as_admin(places: Places, database: str, *statements: str) -> None:
    connection = await asyncpg.connect(places.private.postgres.admin_url(database))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def until(system: System, url: str, question: str, wanted: Any, within: float = SOON_S) -> None:
    connection = await asyncpg.connect(url)
    found: Any = None
    try:
        async with asyncio.timeout(within):
            while (found := await connection.fetchval(question)) != wanted:  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.25)
    except TimeoutError:
        pytest.fail(f"{question}: {found}, not {wanted}")
    finally:
        await connection.close()


ERASED: Final = "SELECT count(*) FROM erasures WHERE erased_at IS NOT NULL"
KNOWN: Final = {name: f"SELECT count(*) FROM {name}.erased_subjects" for name in ("summary", "search")}  # noqa: S608
LETTERS: Final = "SELECT count(*) > {} FROM operations.letters"


async def is_erased_everywhere(system: System, within: float = SOON_S) -> None:
    began = time.monotonic()
    await until(system, system.servers.write_db_url, ERASED, len(SUBJECTS), within)
    for name, question in KNOWN.items():
        left = within - (time.monotonic() - began)
        await until(system, system.servers.stores[name], question, len(SUBJECTS), left)


async def test_nothing_of_two_hundred_persons_is_left_and_no_backup_brings_them_back(
    system: System, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert {kind for person in SUBJECTS for kind in [person.partition("/")[0]]} == set(PERSONS)
    canaries, places = Canaries(), Places(system, tmp_path)
    sender = Sender(system, canaries)
    read, write = databases.READ, databases.WRITE
    for table, key in (("customers", "customer_id"), ("users", "user_id"), ("patients", "patient_id")):
        ids = ",".join(person.partition("/")[2] for person in DISLIKED)
        await as_admin(places, read, DISLIKE.format(table=table, key=key, ids=ids, mark=PATTERN))
    await as_admin(places, write, BREAK.format(streams=",".join(BROKEN)))
    for name in ("analytics", "search"):
        os.kill(system.supervisor.pid(name), signal.SIGSTOP)

    product = {"product_id": "t-1", "name": "Tea", "category": "drinks", "price": 499, "currency": "EUR"}
    await system.bus.accepted("catalog.create-product", product)
    await in_groups(lambda person: live(sender, person))
    assert canaries.used == PERSONAL, "every personal field has been used"
    await until(system, system.servers.operations_db_url, LETTERS.format(len(SUBJECTS)), True)
    backups = tmp_path_factory.mktemp("backups")
    for database in (write, read, databases.OPERATIONS):
        await places.back_up(database, backups / database)
    before = {place: content for place, content in await places.dumps()}
    assert list(canaries.found_in(before["database summary"])), "the test would prove nothing"
    waiting = await system.bus.depth(topology.lane_queue("search", 0))
    assert waiting, "events wait in queues"

    for person in SUBJECTS:
        await system.bus.accepted(ERASE_SUBJECT, {"subject": person})
    accepted_at = time.monotonic()
    os.kill(system.supervisor.pid("search"), signal.SIGCONT)
    await in_groups(lambda person: refused_now(sender, person))
    await is_erased_everywhere(system)
    applied_s = time.monotonic() - accepted_at
    await stop(system)
    left = await places.left(canaries)
    took_s = time.monotonic() - accepted_at
    print(f"{len(SUBJECTS)} persons: applied everywhere after {applied_s:.1f} s, searched after {took_s:.1f} s")
    assert not left, report(left)
    assert took_s < WITHIN_S

    await places.restore(backups / write)
    await as_admin(places, write, MEND)
    await start(system)
    await is_erased_everywhere(system)
    rebuilt = await adopted(system)
    print(f"after the restore, rebuilt as they were ahead: {', '.join(rebuilt) or 'none'}")
    await stop(system)
    assert not (left := await places.left(canaries)), report(left)

    await places.restore(backups / read)
    assert list(canaries.found_in(dict(await places.dumps())["database summary"])), "the backup has them"
    await start(system)
    await is_erased_everywhere(system)
    await stop(system)
    assert not (left := await places.left(canaries)), report(left)


async def refused_now(sender: Sender, person: str) -> None:
    kind, _, own_id = person.partition("/")
    await sender.rejected("subject-erased", RENAME[kind], {"name": text_of(person, "too late")}, own_id)


async def adopted(system: System) -> list[str]:
    """Every projection goes on in the write database's epoch. Returns those that are ahead of it, which an operator has had rebuilt."""
    connection = await asyncpg.connect(system.servers.write_db_url)
    epoch = await connection.fetchval("SELECT epoch FROM epochs ORDER BY number DESC LIMIT 1")
    await connection.close()
    return [name for name in topology.PROJECTORS if await adopts(system, name, epoch)]


async def adopts(system: System, projection: str, epoch: str) -> bool:
    """Whether it had to be rebuilt for it."""
    settings, is_rebuilt = settings_for(system.servers), False
    async with open_store(settings, projection) as store, asyncio.timeout(SOON_S):
        while True:
            found = await store.generations()
            active = next(one for one in found if one.active)
            if active.epoch == epoch and active.moving_to is None:
                return is_rebuilt
            if active.compared and active.ahead and not is_rebuilt:
                is_rebuilt = True
                begun = Rebuild(projection=projection, generation=2, actor="a test", reason="restored")
                assert isinstance(await send_request(settings, begun, request_id=None, seconds=20), GenerationsChanged)
            if any(one.number == 2 and one.state == "ready" and not one.active for one in found):
                switch = Activate(projection=projection, generation=2, actor="a test", reason="restored")
                assert isinstance(await send_request(settings, switch, request_id=None, seconds=20), GenerationsChanged)
            await asyncio.sleep(0.25)


def report(left: Sequence[str]) -> str:
    places: dict[str, list[str]] = {}
    for each in left:
        places.setdefault(each[:110], []).append(each)
    return "\n".join(f"{len(found)} × {found[0]}" for found in places.values())[:8000]

"""Two hundred persons are erased in one go, with their data in every kind of place: nothing of them is left anywhere, and no backup brings
them back.

What is searched: dumps of every database, Redis's append-only file after a rewrite, every message of every queue, every log and health
file. The files of the servers themselves are not: deleted rows stay in a table's pages until vacuum.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from deploy.cli.projections.control_requests import send_request
from deploy.compare.stores import open_store
from deploy.demo.system import settings_for
from deploy.run.deployables import DEPLOYABLES
from deploy.servers.accounts import databases
from deploy.servers.provide import CHOICE
from shared.contracts.privacy import ERASE_SUBJECT
from shared.contracts.registry import PERSONS
from shared.messages.control import Activate, Rebuild
from shared.messaging import topology
from shared.views.generations import GenerationsChanged
from tests.canary import MARK, PERSONAL, Canaries, text_of
from tests.e2e.system import System, own_servers, running_system
from tests.faults.persons import BROKEN, DISLIKED, POISONED, RENAME, SUBJECTS, Sender, in_groups, live
from tests.faults.places import Places

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WITHIN_S: Final = 60.0
SOON_S: Final = 240.0
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

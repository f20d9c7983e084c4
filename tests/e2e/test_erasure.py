"""A person is erased in the whole running system: nothing of them is left anywhere, and no restore brings them back."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.demo.display import open_display
from deploy.demo.system import settings_for
from deploy.erasure.certificate import is_genuine
from deploy.erasure.findings import Findings, look
from deploy.erasure.stores import databases, redis_stores
from deploy.servers.accounts import databases as names
from deploy.servers.provide import CHOICE
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.contracts.privacy import stream_of_subject
from shared.messaging import topology
from tests.e2e.system import System, own_servers, running_system
from tests.integration.program import Program

pytestmark = pytest.mark.timeout(900)

CANARY: Final = "Zanzibar"
SUBJECTS: Final = ("customers/c-1", "users/u-1", "users/u-2", "patients/p-1", "doctors/d-1")
POISONED: Final = "users/u-2"
SOON_S: Final = 180.0
BACKUP: Final = "backup"
ALL_TABLES: Final = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    monkeypatch.setenv(CHOICE, "private")
    monkeypatch.setenv("TIDEMARK_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TIDEMARK_POISON", f"summary:{POISONED}")
    monkeypatch.setenv("TIDEMARK_SUMMARY_RETRIES", "0")
    with own_servers() as servers:
        for name, url in servers.environ().items():
            monkeypatch.setenv(name, url)
        async with running_system(servers, tmp_path / "output.log") as system:
            yield system


async def fill(system: System) -> None:
    """Texts of five persons in every kind of place: streams, a review, a letter, a rejection, a scheduled command, a dead command."""
    accepted = system.bus.accepted
    await accepted(
        "customers.register-customer", {"customer_id": "c-1", "name": f"{CANARY} C", "email": f"{CANARY}@example.org"}
    )
    await accepted("customers.rename-customer", {"name": f"{CANARY} Cee"}, subject="c-1")
    await accepted("customers.register-customer", {"customer_id": "c-2", "name": "Bea"})
    for user in ("u-1", "u-2"):
        new = {"user_id": user, "name": f"{CANARY} U", "email": f"{user}.{CANARY}@example.org", "role": "clerk"}
        await accepted("accounts.create-user", new)
    await accepted("accounts.rename-user", {"name": f"{CANARY} You"}, subject="u-1")
    await accepted("bookings.register-doctor", {"doctor_id": "d-1", "name": f"{CANARY} D", "speciality": "Skin"})
    await accepted("bookings.register-patient", {"patient_id": "p-1", "name": f"{CANARY} P"})
    booking = {"booking_id": "b-1", "patient_id": "p-1", "doctor_id": "d-1", "minutes": 15}
    await accepted("bookings.request-booking", booking | {"starts_at": "2090-03-01T09:30:00Z"})
    product = {"product_id": "t-1", "name": "Tea", "category": "drinks", "price": 499, "currency": "EUR"}
    await accepted("catalog.create-product", product)
    review = {"review_id": "r-1", "rating": 5, "text": f"{CANARY} tea", "customer_id": "c-1"}
    await accepted("catalog.add-review", review, subject="t-1")
    line = {"product_id": "t-1", "quantity": 1, "amount": 499}
    await accepted("orders.place-order", {"order_id": "o-1", "customer_id": "c-1", "currency": "EUR", "lines": [line]})
    wrong = await system.bus.command("customers.change-email", {"email": f"{CANARY} at example"}, subject="c-1")
    assert wrong["code"] == "validation-failed"
    later = await system.bus.command(
        "customers.rename-customer", {"name": f"{CANARY} later"}, subject="c-1", notbefore="2090-01-01T00:00:00Z"
    )
    assert later["reason"] == "scheduled"
    lost = {"type": "customers.rename-customer", "subject": "c-1", "data": {"name": f"{CANARY} lost"}}
    await system.bus.put(topology.COMMAND_QUEUE, json.dumps(lost).encode())


async def texts(system: System) -> list[str]:
    """Where the canary is, in all tables of all databases, byte columns too, and in Redis."""
    settings = settings_for(system.servers)
    found = []
    for database, url in databases(settings).items():
        connection = await asyncpg.connect(url)
        for table in await connection.fetch(ALL_TABLES):
            for row in await connection.fetch(f"SELECT t::text AS row FROM {table['name']} AS t"):  # noqa: S608
                if CANARY.lower() in row["row"].lower() or CANARY.encode().hex() in row["row"]:
                    found.append(f"{database} {table['name']}: {row['row'][:300]}")
        await connection.close()
    for url in redis_stores(settings).values():
        redis: Redis = Redis.from_url(url)
        async for key in redis.scan_iter():
            dumped = (key + (await redis.dump(key) or b"")).lower()
            if CANARY.lower().encode() in dumped:
                found.append(f"redis {key!r}")
        await redis.aclose()
    return found


async def erased_everywhere(system: System, subjects: Sequence[str]) -> None:
    settings = settings_for(system.servers)
    left: list[Findings] = []
    try:
        async with asyncio.timeout(SOON_S):
            while True:
                left = [each for each in [await look(settings, s) for s in subjects] if not each.is_clean]
                if not left:
                    return
                await asyncio.sleep(0.5)
    except TimeoutError:
        pytest.fail(str([each.left for each in left]))


async def in_the_audit(*wanted: tuple[str, str, str]) -> None:
    """(actor, reason, subject) of all erasures, which are reported to it."""
    found: list[tuple[str, str, str]] = []
    try:
        async with asyncio.timeout(SOON_S):
            while sorted(found) != sorted(wanted):
                rows = (await Program("audit").json_of("list", "--act", "erase-subject"))["items"]
                found = [(row["actor"], row["reason"], row["details"]["subject"]) for row in rows]
    except TimeoutError:
        pytest.fail(str(found))
    assert (await Program("audit").run("verify")).exit_code == 0


async def as_admin(system: System, *statements: str) -> None:
    """While nothing writes to the write database."""
    assert system.servers.private is not None
    writers = ("worker", "relay", "http")
    for name in writers:
        await system.supervisor.kill(name)
    connection = await asyncpg.connect(system.servers.private.postgres.admin_url())
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", names.WRITE)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
    for name in writers:
        await system.supervisor.restart(name)


async def test_nothing_of_an_erased_person_is_left_and_no_restore_brings_them_back(
    system: System, tmp_path: Path
) -> None:
    await fill(system)
    await system.letter("summary", stream=POISONED)
    await system.letter("commands", part=b"customers.rename-customer")
    await system.visible("/customers/c-1", lambda found: found["name"] == f"{CANARY} Cee")
    await system.visible("/search/doctors", lambda found: found["total"] == 1, q=CANARY.lower())
    places = " ".join(await texts(system))
    for expected in ("summary.customers", "summary.history", "summary.user_audit", "search.doctors"):
        assert expected in places, "the test would prove nothing"
    for sealed in ("write public.events", "outbox", "claims", "scheduled_commands", "commands", "payloads", "letters"):
        assert sealed not in places, "sealed before it is stored"
    exported = json.loads(
        await Program("subjects").said("export", "customers/c-1", "--actor", "bob", "--reason", "asked")
    )
    shown = (await Program("audit").json_of("list", "--act", "subject-exported"))["items"]
    assert [(row["actor"], row["reason"], row["details"]["subject"]) for row in shown] == [
        ("bob", "asked", "customers/c-1")
    ]
    assert [event["data"].get("name") for event in exported["events"]][:2] == [f"{CANARY} C", f"{CANARY} Cee"]
    assert exported["refers_to_the_person"]["orders"][0]["order_id"] == "o-1"
    await as_admin(system, f"CREATE DATABASE {BACKUP} TEMPLATE {names.WRITE} OWNER tidemark")

    answer = await Program("subjects").json_of(
        "erase", SUBJECTS[0], "--reason", "asked for it", "--actor", "ann", "--yes", "--wait", "180"
    )
    assert answer["erased"], answer
    for subject in SUBJECTS[1:]:
        await system.bus.accepted("privacy.erase-subject", {"subject": subject})
    await erased_everywhere(system, SUBJECTS)
    await in_the_audit(("ann", "asked for it", SUBJECTS[0]), *(("tidemark", "", each) for each in SUBJECTS[1:]))
    assert not await texts(system)
    await shows_the_erased_form(system)

    certificate = await Program("verify").run("--erasure", "customers/c-1", "--value", CANARY)
    assert certificate.exit_code == 0, certificate.output
    document = json.loads(certificate.stdout)
    public = (await Program("verify").said("--public-key")).strip()
    assert is_genuine(document, public)
    assert not is_genuine(document | {"certificate": document["certificate"] | {"subject": "customers/c-2"}}, public)

    report = await verified(system)
    assert report.equal or {finding.projection for finding in report.findings} <= {"summary"}, report.findings

    await as_admin(
        system,
        f"DROP DATABASE {names.WRITE} WITH (FORCE)",
        f"ALTER DATABASE {BACKUP} RENAME TO {names.WRITE}",
    )
    await applied_again(system)
    assert not await texts(system)
    refused = await system.bus.command("customers.rename-customer", {"name": f"{CANARY} again"}, subject="c-1")
    assert refused["code"] == "subject-erased"
    assert CANARY not in (tmp_path / "output.log").read_text(), "nor in the log"


async def shows_the_erased_form(system: System) -> None:
    customer = await system.get("/customers/c-1")
    assert (customer["name"], customer["email"]) == ("[erased]", "[erased]")
    assert (await system.get("/orders/o-1"))["customer_name"] == "[erased]"
    booking = await system.get("/bookings/b-1")
    assert (booking["doctor_name"], booking["patient_name"]) == ("[erased]", "[erased]")
    assert (await system.get("/users/u-1"))["name"] == "[erased]"
    assert CANARY not in str(await system.get("/users/u-1/audit"))
    assert (await system.get("/search/doctors", q=CANARY.lower()))["total"] == 0
    assert (await system.get("/search/doctors", q="skin"))["total"] == 1
    assert (await system.get("/customers/c-2"))["name"] == "Bea"


async def applied_again(system: System) -> None:
    """The restored write database lists everybody who was erased, and has what says so."""
    connection = await asyncpg.connect(system.servers.write_db_url)
    try:
        async with asyncio.timeout(SOON_S):
            while True:
                done = await connection.fetch("SELECT subject FROM erasures WHERE erased_at IS NOT NULL")
                streams = await connection.fetch("SELECT stream FROM streams WHERE kind = 'subjects'")
                if {row["subject"] for row in done} == set(SUBJECTS) and len(streams) == len(SUBJECTS):
                    break
                await asyncio.sleep(0.5)
        assert {row["stream"] for row in streams} == {stream_of_subject(each) for each in SUBJECTS}
        assert not await connection.fetchval("SELECT count(*) FROM claims WHERE scope LIKE '%email'")
    finally:
        await connection.close()


async def verified(system: System) -> Any:
    with open_display() as display:
        return await verify(settings_for(system.servers), Options(max_wait_s=5), display)

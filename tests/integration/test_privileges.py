"""Each deployable may do in PostgreSQL what the table of grants says, and nothing else: every statement of its own, and no other's."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from deploy.run import privileges
from deploy.run.grants import GRANTS, Grants
from deploy.servers.accounts.urls import ACCOUNTS, ROLES
from deploy.servers.provide import Servers
from projectors.stores import migrations
from shared import processes
from shared.read_models import IN_POSTGRES
from shared.runtime.roles import READER, role_of
from shared.runtime.settings import Settings
from shared.views.generations import registry_schema
from shared.views.operations import SCHEMA as OPERATIONS
from tests.integration.databases import database
from tests.statements import statements

TABLE_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
MAY = "SELECT has_table_privilege($1::text, format('%I.%I', $2::text, $3::text), $4::text)"
MAY_COLUMN = "SELECT has_any_column_privilege($1::text, format('%I.%I', $2::text, $3::text), $4::text)"

TO_THE_OWNER = """
SELECT format('ALTER TABLE %I.%I OWNER TO tidemark', schemaname, tablename) FROM pg_tables WHERE schemaname LIKE 'telemetry%'
UNION ALL SELECT 'ALTER VIEW readings_by_hour OWNER TO tidemark'
UNION ALL SELECT format('ALTER ROUTINE %s OWNER TO tidemark', oid::regprocedure) FROM pg_proc
WHERE pronamespace = 'telemetry'::regnamespace
"""
OWNERS = """
SELECT tableowner AS role FROM pg_tables WHERE schemaname LIKE 'telemetry%'
UNION SELECT viewowner FROM pg_views WHERE schemaname = 'telemetry'
UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'telemetry'::regnamespace
UNION SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname LIKE 'telemetry%'
"""

PROCESS = processes.folder_of(processes.NAMES[0])
READ_OF_STREAMS = ("positions", "held", "progress", "discarded")
OF_HTTP = (
    "event_store.OUTCOME",
    "event_store.SOURCES",
    "event_store.STREAMS_BY_NAME",
    "pending.UNDECIDED_COMMAND",
    "scheduled_commands.SCHEDULED_COMMAND",
    "scheduled_commands.SCHEDULED_COMMANDS",
    "state_replay.EVENTS_UP_TO",
)
REGISTRY = "projectors.stores.postgres_registry"
ERASURE = "projectors.stores.erasure"
KEYS = ("keys_db_url", "public")
READS_KEYS, MAKES_KEYS = (".FIND_KEYS",), (".FIND_KEYS", ".MAKE_KEYS")
HAS_SECRETS, ERASES = (".SECRET", ".MAKE_SECRET"), (".MARK_ERASED", ".DESTROY", ".ERASED")
OPERATORS_ONLY = ("command_service.handling.epochs.SET_ACTOR",)


def written() -> dict[str, str]:
    return {
        name: text
        for name, text in statements(
            "command_service.handling", "command_service.scheduling.scheduled_commands"
        ).items()
        if name not in OPERATORS_ONLY and "handling.outbox." not in name
    }


def of_keys(*names: str) -> dict[str, str]:
    found = statements("shared.privacy.key_database")
    return {name: text for name, text in found.items() if name.endswith(names)}


def run_by(deployable: str) -> dict[tuple[str, str], Mapping[str, str]]:
    """(setting, schemas) → the statements that the deployable runs there."""
    stores = statements("projectors.stores", but=(REGISTRY, "projectors.stores.migrations", ERASURE))
    registry = statements(REGISTRY, "projectors.stores.migrations", "shared.views.generations")
    write = ("write_db_url", "public")
    match deployable:
        case "worker":
            return {
                write: written() | statements("command_service.archiving.retention", "command_service.senders"),
                KEYS: of_keys(*MAKES_KEYS, *HAS_SECRETS),
            }
        case "relay":
            others = statements("command_service.scheduling.scheduler", "command_service.handling.outbox")
            epochs = {name: text for name, text in written().items() if ".epochs." in name}
            others |= statements("command_service.privacy.eraser", "command_service.measuring")
            return {write: statements("command_service.publishing") | others | epochs, KEYS: of_keys(*ERASES)}
        case "http":
            names = {name: text for name, text in written().items() if name.endswith(OF_HTTP)}
            assert len(names) == len(OF_HTTP)
            read = statements("shared.views.operations_queries").items()
            switch = {name: text for name, text in read if name.endswith(".READ_ONLY")}
            keys = statements("shared.http.identities.key_cache") | switch
            return {write: names | statements("command_service.http"), ("operations_db_url", OPERATIONS): keys}
        case "dead_letters":
            own = statements("projectors.dead_letters")
            return {("operations_db_url", OPERATIONS): own, KEYS: of_keys(*MAKES_KEYS)}
        case "processes":
            return {
                ("processes_db_url", PROCESS): stores | statements("projectors.process_runtime"),
                ("processes_db_url", registry_schema(PROCESS)): {
                    name: text
                    for name, text in registry.items()
                    if not name.endswith((".DELETE_GENERATION", ".LOCK_GENERATIONS"))
                },
            }
        case "query":
            views = statements("shared.views", but=("shared.views.generations", "shared.views.processes"))
            return {
                ("operations_db_url", OPERATIONS): views | statements("shared.http.identities.key_cache"),
                ("processes_db_url", PROCESS): statements("shared.views.processes"),
                **{
                    (model.setting, registry_schema(model.name)): statements("shared.views.generations")
                    for model in IN_POSTGRES
                },
            }
        case _:
            [model] = [model for model in IN_POSTGRES if model.name == deployable]
            own = stores | statements(f"projectors.models.{deployable}")
            found: dict[tuple[str, str], Mapping[str, str]] = {
                (model.setting, model.name): own,
                (model.setting, registry_schema(deployable)): registry,
            }
            if model.has_personal_data:
                return found | {(model.setting, model.name): own | statements(ERASURE), KEYS: of_keys(*READS_KEYS)}
            return found


IN_POSTGRESQL = [name for name, settings in ACCOUNTS.items() if any(each.endswith("_db_url") for each in settings)]


@asynccontextmanager
async def connected(url: str, schema: str = "public") -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        url, timeout=20, statement_cache_size=0, server_settings={"search_path": f"{schema}, public"}
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=20)


def own_url(servers: Servers, deployable: str, setting: str) -> str:
    """Of a database that it may have nothing to do with, but with its own account."""
    [own] = [url for name, url in servers.own[deployable].items() if name.endswith("_db_url")][:1]
    other = urlsplit(servers.environ()[f"TIDEMARK_{setting.upper()}"])
    return urlsplit(own)._replace(path=other.path).geturl()


@pytest.fixture(autouse=True)
def with_roles(servers: Servers) -> None:
    if not all(f"//{role_of(name)}:" in str(servers.own[name]) for name in IN_POSTGRESQL):
        pytest.skip("the deployables have no roles of their own on these servers")


@pytest.mark.parametrize("deployable", IN_POSTGRESQL)
async def test_a_deployable_may_run_every_statement_of_its_own(
    deployable: str, servers: Servers, migrated: Settings
) -> None:
    count = 0
    for (setting, schema), own in run_by(deployable).items():
        async with connected(servers.url(deployable, setting), schema) as connection:
            for name, text in own.items():
                assert await may_run(connection, text), name
                count += 1
    assert count >= 7


async def may_run(connection: asyncpg.Connection, text: str) -> bool:
    """Have the server check the privileges of a statement, as at the start of its execution, without its effect."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        if text.lstrip().startswith(("LOCK", "SET")):
            return not await refused(connection, text)
        parameters = len((await connection.prepare(text)).get_parameters())
        await connection.execute(f"PREPARE checked AS {text}")
        values = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
        return not await refused(connection, f"EXPLAIN EXECUTE checked{values}")
    finally:
        await transaction.rollback()
        await connection.execute("DEALLOCATE ALL")


@pytest.mark.parametrize("deployable", [name for name in IN_POSTGRESQL if name != "query"])
async def test_no_privilege_is_declared_that_no_statement_needs(
    deployable: str, servers: Servers, migrated: Settings
) -> None:
    role = role_of(deployable)
    for (setting, schema), own in run_by(deployable).items():
        async with connected(servers.url("", setting), schema) as owner:
            found = await privileges.objects(owner)
            here = [grants for grants in GRANTS if privileges.url_of(migrated, grants) == servers.url("", setting)]
            declared = {each for grants in here for each in privileges.privileges(grants, found) if each.role == role}
            for each in sorted(each for each in declared if (each.kind, each.schema) == ("TABLE", schema)):
                transaction = owner.transaction()
                await transaction.start()
                await owner.execute(f"REVOKE {each.privilege} ON {each.schema}.{each.name} FROM {role}")
                await owner.execute(f"SET LOCAL ROLE {role}")
                about = [text for text in own.values() if each.name in text]
                needed = not all([await may_run(owner, text) for text in about])
                await transaction.rollback()
                assert needed, f"{role} needs no {each}"


@pytest.mark.parametrize("deployable", IN_POSTGRESQL)
async def test_a_deployable_may_do_with_each_table_what_is_declared_and_nothing_else(
    deployable: str, servers: Servers, migrated: Settings
) -> None:
    role, denied = role_of(deployable), 0
    for setting in sorted({grants.setting for grants in GRANTS}):
        here = [grants for grants in GRANTS if privileges.url_of(migrated, grants) == servers.url("", setting)]
        async with connected(servers.url("", setting)) as owner:
            found = await privileges.objects(owner)
            wanted = {each for grants in here for each in privileges.privileges(grants, found) if each.role == role}
            owned = {name for grants in here if grants.maker == deployable for name in _schemas(grants, found.schemas)}
            of_the_product = {name for grants in GRANTS for name in _schemas(grants, found.schemas)} - owned
            for schema, table in found.tables:
                if schema not in of_the_product:  # other tests make schemas of their own in these databases
                    continue
                for privilege in TABLE_PRIVILEGES:
                    check = MAY if privilege in ("DELETE", "TRUNCATE", "TRIGGER") else MAY_COLUMN
                    may = await owner.fetchval(check, role, schema, table, privilege)
                    declared = privileges.Privilege("TABLE", schema, table, role, privilege) in wanted
                    assert may == declared, f"{role}: {privilege} on {schema}.{table}"
                    denied += not may
    assert denied > 100


def _schemas(grants: Grants, schemas: Sequence[str]) -> list[str]:
    return [
        each.name
        for each in privileges.privileges(grants, privileges.Objects("", schemas, []))
        if each.kind == "SCHEMA"
    ]


@pytest.mark.parametrize("grants", GRANTS, ids=lambda grants: grants.schemas)
async def test_every_table_that_is_declared_is_there(grants: Grants, servers: Servers, migrated: Settings) -> None:
    async with connected(privileges.url_of(migrated, grants)) as owner:
        found = await privileges.objects(owner)
        tables = {table for _, table in found.tables} | {f"{name.partition('(')[0]}()" for _, name in found.routines}
        declared = {table for tables in grants.tables.values() for table in tables} - {"*"}
        assert declared <= tables


WRITES = ("INSERT INTO {0} DEFAULT VALUES", "DELETE FROM {0}", "TRUNCATE {0}")
ANYBODY = (
    "CREATE TABLE mine (id integer)",
    "CREATE TABLE public.mine (id integer)",
    "CREATE TEMP TABLE mine (id integer)",
    "CREATE SCHEMA mine",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_put(1, 0, 'x')",
    "SET ROLE tidemark",
    "SET ROLE tidemark_admin",
    "SET SESSION AUTHORIZATION tidemark",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT rolpassword FROM pg_authid",
    "ALTER ROLE tidemark PASSWORD 'x'",
    "CREATE DATABASE mine",
)
FORBIDDEN = {
    ("worker", "write_db_url", "public"): (
        "UPDATE events SET envelope = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        "INSERT INTO archived_events (stream, version, envelope) VALUES ('orders/x', 1, '{}')",
        "UPDATE commands SET outcome = '{}'",
        "UPDATE epochs SET reason = ''",
        "DELETE FROM outbox",
        "DELETE FROM streams",
        "UPDATE claims SET stream = ''",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TABLE events",
    ),
    ("relay", "write_db_url", "public"): (
        "INSERT INTO events (stream, version, envelope) VALUES ('orders/x', 1, '{}')",
        "INSERT INTO outbox (stream, hash, type, envelope) VALUES ('orders/x', 1, '', '')",
        "UPDATE outbox SET envelope = '{}'",
        "UPDATE streams SET state = '{}'",
        "DELETE FROM scheduled_commands",
        "SELECT FROM claims",
        "SELECT FROM commands",
    ),
    ("http", "write_db_url", "public"): (
        "SELECT FROM events",
        "SELECT FROM archived_events",
        "SELECT FROM outbox",
        "SELECT FROM claims",
        "UPDATE commands SET outcome = '{}'",
        "INSERT INTO scheduled_commands (command_id) VALUES ('x')",
        "DELETE FROM scheduled_commands",
        "DELETE FROM undecided_commands",
        "UPDATE streams SET state = '{}'",
    ),
    ("dead_letters", "operations_db_url", OPERATIONS): (
        "UPDATE audit SET actor = 'bob'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "CREATE OR REPLACE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "INSERT INTO audit (actor, act, reason) VALUES ('bob', 'nothing', '')",
        "UPDATE audit_head SET number = 0",
        "INSERT INTO api_keys (id) VALUES ('bob')",
        "SELECT FROM api_keys",
        "DELETE FROM jobs",
        "UPDATE requests SET answer = '{}'",
    ),
    ("http", "operations_db_url", OPERATIONS): (
        "UPDATE api_keys SET revoked_at = NULL",
        "INSERT INTO api_keys (id) VALUES ('x')",
        "UPDATE api_keys_revision SET revision = 1",
        "SELECT FROM audit",
        "SELECT FROM letters",
        "SELECT FROM payloads",
        "SELECT operations.prune_audit(now(), 1)",
        "SELECT operations.record_audit('{}')",
    ),
    ("processes", "processes_db_url", PROCESS): (
        "DELETE FROM processes",
        "TRUNCATE inputs",
        "ALTER TABLE inputs ADD COLUMN x text",
        f"DROP SCHEMA {PROCESS} CASCADE",
    ),
    ("search", "search_db_url", "summary"): (
        "SELECT FROM summary.orders",
        "UPDATE summary.positions SET applied = 99",
        "UPDATE summary_registry.generations SET active = false",
        "DROP SCHEMA summary CASCADE",
        "CREATE TABLE summary.mine (id integer)",
    ),
    ("query", "summary_db_url", "summary"): (
        *(statement.format(table) for table in ("orders", "positions", "held") for statement in WRITES),
        "UPDATE orders SET status = 'paid'",
        "UPDATE summary_registry.generations SET active = false",
        "SELECT FROM orders FOR UPDATE",
    ),
    ("query", "operations_db_url", OPERATIONS): (
        *(
            statement.format(table)
            for table in ("audit", "letters", "payloads", "jobs", "requests")
            for statement in WRITES
        ),
        "UPDATE audit SET actor = 'bob'",
        "UPDATE api_keys SET revoked_at = NULL",
        "SELECT operations.prune_audit(now(), 1)",
        "SELECT operations.record_audit('{}')",
        "UPDATE letters SET status = 'discarded'",
    ),
    ("query", "processes_db_url", PROCESS): (
        *(statement.format(table) for table in ("processes", "inputs", "commands", "timers") for statement in WRITES),
    ),
}
STRANGERS = [
    *(
        ("write_db_url", name)
        for name in (*(model.name for model in IN_POSTGRES), "processes", "dead_letters", "query")
    ),
    *(("operations_db_url", name) for name in ("worker", "relay", "processes", *(model.name for model in IN_POSTGRES))),
    *(
        ("processes_db_url", name)
        for name in ("worker", "relay", "http", "dead_letters", *(model.name for model in IN_POSTGRES))
    ),
    *(("summary_db_url", name) for name in ("worker", "relay", "http", "dead_letters", "processes")),
]


@pytest.mark.parametrize(
    ("place", "attempts"), FORBIDDEN.items(), ids=lambda place: "-".join(place[:2]) if place else ""
)
async def test_what_is_forbidden_is_refused(
    place: tuple[str, str, str], attempts: tuple[str, ...], servers: Servers, migrated: Settings
) -> None:
    deployable, setting, schema = place
    # A role that is to read only may switch that setting off: what stops it must be its privileges.
    async with connected(servers.url(deployable, setting), schema) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        makes_schemas = deployable in {model.name for model in IN_POSTGRES}
        anybody = [each for each in ANYBODY if not (makes_schemas and each == "CREATE SCHEMA mine")]
        for attempt in (*attempts, *anybody):
            assert await refused(connection, attempt), f"{deployable}: {attempt}"


async def refused(connection: asyncpg.Connection, statement: str) -> bool:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


@pytest.mark.parametrize(("setting", "deployable"), STRANGERS)
async def test_a_deployable_is_let_into_no_database_that_it_does_not_use(
    setting: str, deployable: str, servers: Servers, migrated: Settings
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="CONNECT"):
        await asyncpg.connect(own_url(servers, deployable, setting), timeout=20)


async def test_migrating_takes_away_what_somebody_has_granted_and_says_so(servers: Servers, migrated: Settings) -> None:
    by_hand = (
        "GRANT UPDATE ON events TO tidemark_worker",
        "GRANT SELECT (envelope) ON events TO tidemark_http",
        "GRANT SELECT ON events TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO tidemark_relay",
        f"GRANT TEMPORARY ON DATABASE {urlsplit(servers.write_db_url).path[1:]} TO PUBLIC",
        "REVOKE INSERT ON events FROM tidemark_worker",
    )
    assert await privileges.apply(migrated) == []
    async with connected(servers.write_db_url) as owner:
        for statement in by_hand:
            await owner.execute(statement)
    lines = await privileges.apply(migrated)
    assert sum("lost" in line for line in lines) == 4
    assert any(line.endswith("tidemark_worker lost UPDATE on table public.events") for line in lines)
    assert any(line.endswith("tidemark_worker has 1 new privileges") for line in lines)
    assert await privileges.apply(migrated) == []


async def test_what_older_code_has_made_becomes_the_projectors_own(servers: Servers) -> None:
    async with database(servers.stores["telemetry"]) as url:
        await migrations.migrate("telemetry", url)
        async with connected(url, "telemetry") as owner:
            for row in await owner.fetch(TO_THE_OWNER):
                await owner.execute(row[0])
            await owner.execute("ALTER SCHEMA telemetry OWNER TO tidemark")
            assert await migrations.migrate("telemetry", url) == []
            owners = await owner.fetch(OWNERS)
            assert [row["role"] for row in owners] == [role_of("telemetry")]


async def test_a_generation_is_not_made_in_a_schema_that_another_projector_has_made(
    servers: Servers, migrated: Settings
) -> None:
    async with connected(servers.url("summary", "summary_db_url")) as summary:
        await summary.execute("CREATE SCHEMA search_99")
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="search_99 belongs to another role"):
                await migrations.migrate("search", servers.url("search", "search_db_url"), schema="search_99")
        finally:
            await summary.execute("DROP SCHEMA search_99")


def test_each_deployable_has_a_role_of_its_own() -> None:
    assert len(set(map(role_of, IN_POSTGRESQL))) == len(IN_POSTGRESQL) == len(ROLES) - 1
    assert READER in ROLES

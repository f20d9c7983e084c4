"""After ``apply`` each role may do in a database what ``grants`` declares, and nothing else, and PUBLIC may do nothing.

What is missing is granted, what is not declared is revoked; a second run finds nothing to do. Only Tidemark's roles are looked at: those of
others keep what they were given. Partitions are left out: they are read through their tables. A server that has none of the roles is left
as it is.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import asyncpg

from deploy.run.grants import GRANTS, ROLES, Grants
from shared.runtime.postgres import CONNECT_TIMEOUT_S, LOCK_MIGRATIONS, Connection
from shared.runtime.roles import role_of
from shared.runtime.settings import Settings

PUBLIC: Final = "PUBLIC"

IDENTITY: Final = "SELECT (SELECT system_identifier FROM pg_control_system()), current_database()"
KNOWN_ROLES: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[])"
SCHEMAS: Final = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
TABLES: Final = """
SELECT nspname AS schema, relname AS name FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition
"""
# Others run with the rights of their callers.
ROUTINES: Final = """
SELECT nspname AS schema, quote_ident(proname) || '(' || pg_get_function_identity_arguments(pg_proc.oid) || ')' AS name
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND prosecdef
"""
# Objects that the current role may grant on. A grant to a column counts as one to its table, whose revocation takes it away as well.
GRANTED: Final = """
WITH schemas AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relations AS (
    SELECT pg_class.oid, nspname, relname, relkind, relowner, relacl FROM pg_class JOIN schemas ON schemas.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT relispartition
), objects AS (
    SELECT 'DATABASE' AS kind, '' AS schema, datname AS name, datdba AS owner, coalesce(datacl, acldefault('d', datdba)) AS acl
    FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'SCHEMA', '', nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM schemas
    UNION ALL
    SELECT 'TABLE', nspname, relname, relowner, relacl FROM relations WHERE relkind <> 'S'
    UNION ALL
    SELECT 'SEQUENCE', nspname, relname, relowner, relacl FROM relations WHERE relkind = 'S'
    UNION ALL
    SELECT 'TABLE', nspname, relname, relowner, attacl FROM relations JOIN pg_attribute ON attrelid = relations.oid
    UNION ALL
    SELECT 'ROUTINE', nspname, quote_ident(proname) || '(' || pg_get_function_identity_arguments(pg_proc.oid) || ')', proowner,
        coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc JOIN schemas ON schemas.oid = pronamespace WHERE prosecdef
)
SELECT DISTINCT kind, schema, name, coalesce(rolname, 'PUBLIC') AS role, privilege_type AS privilege
FROM objects CROSS JOIN LATERAL aclexplode(acl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE acl IS NOT NULL AND grantee <> owner AND pg_has_role(owner, 'USAGE') AND (grantee = 0 OR rolname = ANY ($1::text[]))
"""
STATEMENT: Final = """
SELECT format(
    CASE WHEN $1::boolean THEN 'GRANT ' ELSE 'REVOKE ' END || $2::text || ' ON ' || $3::text
        || CASE WHEN $3 = 'ROUTINE' THEN ' %1$I.%2$s' WHEN $4::text = '' THEN ' %2$I' ELSE ' %1$I.%2$I' END
        || CASE WHEN $1 THEN ' TO ' ELSE ' FROM ' END || CASE WHEN $6::boolean THEN 'PUBLIC' ELSE '%3$I' END,
    $4::text, $5::text, $7::text
)
"""


class Privilege(NamedTuple):
    """``kind``: DATABASE, SCHEMA, TABLE, SEQUENCE or ROUTINE; ``schema`` is empty for the first two, a routine's name has its arguments."""

    kind: str
    schema: str
    name: str
    role: str
    privilege: str

    def __str__(self) -> str:
        return f"{self.privilege} on {self.kind.lower()} {f'{self.schema}.' if self.schema else ''}{self.name}"


@dataclass(frozen=True)
class Objects:
    """What there is in a database."""

    database: str
    schemas: Sequence[str]
    tables: Sequence[tuple[str, str]]
    """(schema, name) of each table and view."""
    routines: Sequence[tuple[str, str]] = ()
    """The same of each function that runs with its owner's rights."""


async def apply(settings: Settings) -> list[str]:
    """Bring every database's privileges to what is declared; returns one line for each role that changes.

    Raises the driver's errors, InsufficientPrivilegeError for one who is not the owner.
    """
    by_database: dict[tuple[int, str], tuple[str, list[Grants]]] = {}
    for grants in GRANTS:
        url = url_of(settings, grants)
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
        try:
            [(system, database)] = await connection.fetch(IDENTITY)
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)
        by_database.setdefault((system, database), (url, []))[1].append(grants)
    done = []
    for url, declared in by_database.values():
        done += await apply_in(url, declared)
    return done


def url_of(settings: Settings, grants: Grants) -> str:
    """The owner's URL of the database that these grants are for."""
    if grants.setting == "processes_db_url":
        return settings.processes_url()
    return settings.store_url(grants.maker) if grants.maker else settings.require(grants.setting)


async def apply_in(url: str, declared: Iterable[Grants]) -> list[str]:
    """The same in one database, for all that is declared for it."""
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, command_timeout=300)
    try:
        async with connection.transaction():
            await connection.execute(LOCK_MIGRATIONS)
            roles = {row[0] for row in await connection.fetch(KNOWN_ROLES, sorted(ROLES))}
            if not roles:
                return []
            found = await objects(connection)
            wanted = {each for grants in declared for each in privileges(grants, found) if each.role in roles}
            actual = {Privilege(*row) for row in await connection.fetch(GRANTED, sorted(roles))}
            ours = {each for each in actual if each.role != PUBLIC or _is_declared(each, declared)}
            for granting, changes in ((False, ours - wanted), (True, wanted - actual)):
                for each in sorted(changes):
                    await connection.execute(await _statement(connection, each, granting=granting))
            return _lines(found.database, revoked=ours - wanted, granted=wanted - actual)
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)


async def objects(connection: Connection) -> Objects:
    [(_, database)] = await connection.fetch(IDENTITY)
    schemas = [row[0] for row in await connection.fetch(SCHEMAS)]
    tables, routines = await connection.fetch(TABLES), await connection.fetch(ROUTINES)
    return Objects(database, schemas, [tuple(row) for row in tables], [tuple(row) for row in routines])


def privileges(grants: Grants, found: Objects) -> Iterator[Privilege]:
    """Everything that is declared, for the schemas and tables that there are."""
    names = [name for name in found.schemas if re.fullmatch(grants.schemas, name)]
    if grants.maker:
        role = role_of(grants.maker)
        yield from (Privilege("DATABASE", "", found.database, role, each) for each in ("CONNECT", "CREATE"))
        yield Privilege("SCHEMA", "", "public", role, "USAGE")  # extensions
    for deployable, tables in grants.tables.items():
        role = role_of(deployable)
        yield Privilege("DATABASE", "", found.database, role, "CONNECT")
        yield from (Privilege("SCHEMA", "", name, role, "USAGE") for name in {*names, "public"})
        for schema, table in found.tables:
            if schema in names:
                yield from (Privilege("TABLE", schema, table, role, each) for each in _of(tables, table))
        for schema, routine in found.routines:
            if schema in names and f"{routine.partition('(')[0]}()" in tables:
                yield Privilege("ROUTINE", schema, routine, role, "EXECUTE")


def _of(tables: Mapping[str, str], table: str) -> Iterator[str]:
    given = tables.get(table) or tables.get("*")
    return (each.strip() for each in given.split(",")) if given else iter(())


def _is_declared(given: Privilege, declared: Iterable[Grants]) -> bool:
    """Whether it is about a database, or a schema, that is Tidemark's."""
    schema = given.name if given.kind == "SCHEMA" else given.schema
    return schema in ("", "public") or any(re.fullmatch(grants.schemas, schema) for grants in declared)


async def _statement(connection: Connection, given: Privilege, *, granting: bool) -> str:
    values = (granting, given.privilege, given.kind, given.schema, given.name, given.role == PUBLIC, given.role)
    return str(await connection.fetchval(STATEMENT, *values))


def _lines(database: str, *, revoked: Iterable[Privilege], granted: Iterable[Privilege]) -> list[str]:
    """What was revoked is named, because no migration explains it."""
    lines = []
    for role in sorted({each.role for each in revoked}):
        names = sorted(str(each) for each in revoked if each.role == role)
        lines.append(f"{database}: {role} lost {', '.join(names)}")
    for role, count in sorted(Counter(each.role for each in granted).items()):
        lines.append(f"{database}: {role} has {count} new privileges")
    return lines

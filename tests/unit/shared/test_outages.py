"""Which errors of PostgreSQL are waited for, and which are the fault of the data or the statement: by SQLSTATE."""

import asyncpg
import pytest

from shared.runtime.postgres import is_outage

WAITED_FOR = {
    "08006": "connection failure",
    "08P01": "protocol violation",
    "25006": "read-only transaction: a standby",
    "25P03": "idle in transaction timeout",
    "26000": "a prepared statement is gone: a pooler",
    "28P01": "invalid password",
    "3D000": "the database is not there",
    "3F000": "the schema is not there",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "42501": "insufficient privilege",
    "42703": "undefined column",
    "42704": "undefined object",
    "42883": "undefined function",
    "42P01": "undefined table",
    "42P05": "duplicate prepared statement: a pooler",
    "53100": "disk full",
    "53300": "too many connections",
    "55P03": "lock not available",
    "57014": "statement timeout",
    "57P01": "shutdown",
    "58030": "I/O error",
    "72000": "snapshot too old",
    "F0000": "configuration file error",
    "XX000": "internal error",
    "YY123": "an extension's own",
}
AT_FAULT = {
    "03000": "statement not yet complete",
    "09000": "triggered action",
    "0A000": "feature not supported",
    "0B000": "invalid transaction initiation",
    "20000": "case not found",
    "21000": "cardinality violation",
    "22003": "numeric value out of range",
    "22P02": "invalid text representation",
    "23505": "unique violation",
    "24000": "invalid cursor state",
    "27000": "triggered data change",
    "2BP01": "dependent objects still exist",
    "2D000": "invalid transaction termination",
    "2F005": "function executed no return",
    "34000": "invalid cursor name",
    "38000": "external routine",
    "39P01": "trigger protocol violated",
    "3B001": "invalid savepoint",
    "42601": "syntax error",
    "42702": "ambiguous column",
    "42803": "grouping error",
    "42804": "datatype mismatch",
    "42P18": "indeterminate datatype",
    "42999": "whatever else is in class 42",
    "44000": "with check option",
    "54001": "statement too complex",
    "P0001": "raised by a function",
    "P0004": "assertion",
}


def raised(sqlstate: str, **more: str) -> asyncpg.PostgresError:
    """As the driver makes it of what the server says."""
    return asyncpg.PostgresError.new({"C": sqlstate, "M": "a message"} | more)


@pytest.mark.parametrize(("sqlstate", "what"), WAITED_FOR.items())
def test_what_the_server_or_an_operator_cures_is_waited_for(sqlstate: str, what: str) -> None:
    assert is_outage(raised(sqlstate)), what


@pytest.mark.parametrize(("sqlstate", "what"), AT_FAULT.items())
def test_what_would_fail_again_is_not(sqlstate: str, what: str) -> None:
    assert not is_outage(raised(sqlstate)), what


def test_a_statement_that_was_prepared_before_a_migration_is_tried_again() -> None:
    assert is_outage(raised("0A000", R="RevalidateCachedQuery"))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got a message that makes no sense"),
    ],
)
def test_a_connection_that_is_lost_is_an_outage(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize("error", [asyncpg.DataError("invalid input for query argument $1"), ValueError(), KeyError()])
def test_what_never_went_to_the_server_is_none(error: Exception) -> None:
    assert not is_outage(error)

"""A descriptor says which rows belong to which streams, and which rows a fold leads to."""

import pytest

from projectors.stores.tables import Table, fold_of, tables_of
from shared.read_models import READ_MODELS, StoreKind
from tests import devices, payments, practice, shop, users
from tests.statements import statements

BY_ID = Table[None](name="t", columns=("id",), key=("id",), stream="id", kind="orders", rows=lambda _: [])
BY_STREAM = Table[None](name="t", columns=("stream",), key=("stream",), stream="stream", kind=None, rows=lambda _: [])


def test_rows_are_found_by_what_follows_the_kind_or_by_the_whole_stream() -> None:
    streams = ["orders/o-1", "orders/a/b", "orders-archive/o-1", "products/p-1"]
    assert BY_ID.ids(streams) == ["o-1", "a/b"]
    assert [BY_ID.stream_of(row) for row in BY_ID.ids(streams)] == streams[:2]
    assert BY_STREAM.ids(streams) == [BY_STREAM.stream_of(stream) for stream in streams] == streams


@pytest.mark.parametrize("name", [model.name for model in READ_MODELS if model.store is StoreKind.POSTGRES])
def test_the_rows_of_a_fold_name_every_verified_column_and_no_other(name: str) -> None:
    changes = fold_of(name)(
        [
            shop.run("orders/o-1", shop.placed(), shop.paid()),
            shop.run("products/p-1", shop.created(), shop.repriced()),
            shop.run("customers/c-1", shop.registered()),
            shop.run("payments/y-1", payments.requested()),
            shop.run("devices/d-1", devices.registered(), devices.recorded(("temp", devices.NOON, "1.5"))),
            shop.run("users/u-1", users.created()),
            shop.run("doctors/d-1", practice.doctor(), practice.doctor_renamed()),
            shop.run("patients/p-1", practice.patient()),
            shop.run("bookings/b-1", practice.requested(), practice.confirmed()),
        ]
    )
    for table in tables_of(name):
        rows = table.rows(changes)
        assert rows, table.name
        for row in rows:
            assert set(row) == set(table.verified), table.name


def test_a_scan_that_finds_no_statement_fails() -> None:
    with pytest.raises(AssertionError, match="no statement"):
        statements("shared.contracts")

"""A projector does not look into a message that names only kinds of stream that it does not read."""

import json
from typing import Any

import pytest

from projectors.runtime.decoding import decode
from shared.messaging import topology
from shared.read_models import READ_MODELS, ReadModel, StoreKind, packing_groups
from tests import shop
from tests.unit.projectors.test_decoding import delivery, envelope

READ = frozenset({"orders"})
BROKEN = b"{not JSON"


def arrived(body: bytes, header: Any) -> int:
    headers = {} if header is None else {topology.KINDS_HEADER: header}
    decoded = decode([delivery(body, headers=headers)], {"summary.1": 1}, kinds=READ)
    return len(decoded.arrived) + len(decoded.undecodable)


@pytest.mark.parametrize("header", ["devices", "customers,devices"])
def test_a_message_of_other_kinds_is_skipped_unread(header: str) -> None:
    assert arrived(BROKEN, header) == 0


@pytest.mark.parametrize("header", [None, "orders", "customers,orders", "", ",", 7, ["devices"], b"devices"])
def test_a_message_that_names_a_kind_that_is_read_or_none_is_read(header: Any) -> None:
    assert arrived(BROKEN, header) == 1
    assert arrived(json.dumps(envelope(shop.placed())).encode(), header) == 1


def test_kinds_that_one_read_model_reads_are_in_one_group() -> None:
    def model(*kinds: str) -> ReadModel:
        return ReadModel("x", StoreKind.POSTGRES, kinds)

    groups = packing_groups([model("orders", "products"), model("customers", "products"), model("devices")])
    assert groups["orders"] == groups["products"] == groups["customers"] != groups["devices"]
    assert len(set(packing_groups([]).values())) == len(packing_groups([]))
    assert (
        len(set(packing_groups([model("orders", "devices"), *READ_MODELS]).values()))
        == len(set(packing_groups(READ_MODELS).values())) - 1
    )

"""The search for what is left of a person finds it in each form."""

import base64
import json
from hashlib import sha256
from urllib.parse import quote

import msgspec
import pytest

from tests.canary import Canaries, address_of, text_of

NAME, DATA = "customers.rename-customer", {"name": text_of("customers/c-1", "name")}
TEXT = DATA["name"].encode()
DIGEST = sha256(TEXT).digest()
CONTENT = sha256(msgspec.json.encode((NAME, "c-1", None, DATA), order="deterministic")).digest()


@pytest.fixture
def canaries() -> Canaries:
    found = Canaries()
    found.sent(NAME, DATA, "c-1")
    return found


@pytest.mark.parametrize(
    "left",
    [
        TEXT,
        TEXT.lower(),
        json.dumps(DATA).encode(),
        quote(TEXT).encode(),
        TEXT.hex().encode(),
        TEXT.hex().upper().encode(),
        *(base64.b64encode(b"{}"[:shift] + TEXT) for shift in range(3)),
        *(base64.urlsafe_b64encode(b"{}"[:shift] + TEXT.lower()) for shift in range(3)),
        DIGEST,
        DIGEST.hex().encode(),
        b"\\\\x00" + DIGEST.hex().encode(),
        base64.b64encode(DIGEST),
        sha256(DATA["name"].lower().encode()).hexdigest()[:32].encode(),
        CONTENT.hex().encode(),
        CONTENT,
    ],
)
def test_every_form_of_a_text_is_found(canaries: Canaries, left: bytes) -> None:
    assert list(canaries.found_in(b"COPY t FROM stdin;\n1\t" + left + b"\t2\n"))
    assert canaries.used == {(NAME, "name")}


def test_what_says_nothing_is_not_found(canaries: Canaries) -> None:
    other = sha256(address_of("customers/c-2", "email").encode())
    assert not list(canaries.found_in(b"[erased] tmk1:" + base64.urlsafe_b64encode(other.digest()) + other.digest()))

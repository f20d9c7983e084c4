"""API keys: their form, their randomness, and that only what was handed out matches."""

import re

import pytest

from shared.http.identities.api_keys import ApiKey, generate, parse


def test_a_key_is_its_id_and_256_random_bits_and_is_read_back() -> None:
    made = [generate() for _ in range(1000)]
    assert len({key.id for key in made}) == len({key.secret for key in made}) == 1000
    for key in made:
        assert re.fullmatch(r"tmk_[a-z0-9]{12}_[A-Za-z0-9_-]{43}", str(key))
        assert parse(str(key)) == key
        assert key.matches(key.digest)
        assert key.secret not in repr(key)


def test_another_secret_does_not_match() -> None:
    key = generate()
    changed = ("A" if key.secret[0] != "A" else "B") + key.secret[1:]
    assert not ApiKey(key.id, changed).matches(key.digest)
    assert not ApiKey(key.id, "").matches(key.digest)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key + "x",
        lambda key: key[:-1],
        lambda key: " " + key,
        lambda key: key + "\n",
        lambda key: key.replace("tmk", "TMK", 1),
        lambda key: key.replace("_", "-", 1),
        lambda key: key[:4] + key[4:16].upper() + key[16:],
        lambda key: key[:20] + "é" + key[21:],
        lambda key: "",
    ],
)
def test_what_only_looks_like_a_key_is_none(change: object) -> None:
    assert parse(change("tmk_abcdefghijkl_" + "s" * 43)) is None  # type: ignore[operator]

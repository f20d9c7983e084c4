"""Tokens and preferences as they come in headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_service.consistency.tokens import MAX_TOKENS, Token, tokens
from query_service.http.problems import InvalidParameterError
from shared.http.prefer import wait


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ()),
        (["orders/o-1@3"], (Token("orders/o-1", 3),)),
        (
            ["orders/a@1, customers/c@2", "products/p@3"],
            tuple(map(Token, ("orders/a", "customers/c", "products/p"), (1, 2, 3))),
        ),
        (["orders/a@1,orders/a@4,orders/a@2"], (Token("orders/a", 4),)),
        (["orders/a@b@3"], (Token("orders/a@b", 3),)),
        (["orders/%C3%A9@1"], (Token("orders/é", 1),)),
        (["orders/é@1".encode().decode("latin-1")], (Token("orders/é", 1),)),
        (["orders/a@1;epoch=2026-11"], (Token("orders/a", 1, "2026-11"),)),
        (['orders/a@1 ; Epoch="x, y", orders/b@2'], (Token("orders/a", 1, "x, y"), Token("orders/b", 2))),
        (["orders/a@1;epoch=x, orders/a@2;epoch=y"], (Token("orders/a", 1, "x"), Token("orders/a", 2, "y"))),
        ([" , orders/a@1,, "], (Token("orders/a", 1),)),
    ],
)
def test_tokens_are_read(values: list[str], expected: tuple[Token, ...]) -> None:
    assert tokens(values) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("x", "orders/a", "orders/a@", "orders/a@0", "orders/a@-1", "orders/a@1.5", "orders/a@01", "orders/a@١"),
        *(
            "orders/a b@1",
            "/a@1",
            "orders/@1",
            "a@1",
            "Orders/a@1",
            "orders/a@99999999999999999",
            "orders/%FF@1",
            "\xff",
        ),
        *(
            "orders/a@1;foo=1",
            "orders/a@1;epoch=",
            "orders/a@1;epoch",
            'orders/a@1;epoch="x',
            "orders/a@1;epoch=a;epoch=b",
        ),
        *("orders/a%00@1", "orders/a/b@1", ", ".join(f"orders/{n}@1" for n in range(MAX_TOKENS + 1))),
    ],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        tokens([text])


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=200))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    try:
        found = tokens([text])
    except InvalidParameterError:
        return
    assert all(token.version > 0 for token in found)
    assert wait([text], 30) in range(31)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], 0),
        (["wait=5"], 5),
        (["respond-async, WAIT=10"], 10),
        (["return=minimal", "wait=6"], 6),
        (['a; b="c, wait=3", wait="7"'], 7),
        (["wait=5, wait=9"], 5),
        (["wait=100"], 30),
        (["wait"], 0),
        (["wait=soon"], 0),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (['"wait=5'], 0),
        (["await=5"], 0),
    ],
)
def test_the_first_wait_counts_and_what_is_not_understood_is_ignored(values: list[str], seconds: int) -> None:
    assert wait(values, 30) == seconds

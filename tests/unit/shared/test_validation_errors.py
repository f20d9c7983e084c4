"""What is wrong is said in the sender's words: the field, what it may be, what came. Which errors there are, the contracts say."""

from collections.abc import Iterator
from typing import Any, Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.contracts.catalog import AddReview, CreateProduct, UpdateProduct
from shared.contracts.customers import ChangeEmail, RegisterCustomer
from shared.contracts.orders import PayOrder, PlaceOrder
from shared.contracts.registry import COMMANDS
from shared.contracts.validation_errors import KNOWN, MAX_SHOWN, describe, printable, sentence, shown
from shared.contracts.values import PATTERNS
from shared.messages import control
from shared.messages.envelope import CommandEnvelope

LINE = {"product_id": "p", "quantity": 1, "amount": 5}
ORDER = {"order_id": "o", "customer_id": "c", "currency": "EUR", "lines": [LINE]}

CONTRACTS: Final[dict[str, type[BaseModel]]] = {
    **COMMANDS,
    "envelope": CommandEnvelope,
    **{
        name: each
        for name in ("Replay", "Discard", "Edit", "Steer", "Rebuild", "Activate")
        for each in [getattr(control, name)]
    },
}
ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 6, 1.5, 10**4, 10**10, 2**53, 10**60, float("inf"), float("nan")),
    *("", "1", "a b", "a\x00b", "euro", "x" * 20_000, "yesterday", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z"),
    *(
        "2026-13-01T25:00:00Z",
        "9999-01-01T00:00:00Z",
        "\ud800",
        b"bytes",
        [],
        [1],
        [None],
        ["x"],
        [1.5],
        [1] * 2000,
        {},
        {"a": 1},
    ),
)
OF_CONSTRAINT: Final = {
    ("int", "gt"): "greater_than",
    ("int", "ge"): "greater_than_equal",
    ("int", "lt"): "less_than",
    ("int", "le"): "less_than_equal",
    ("float", "gt"): "greater_than",
    ("float", "le"): "less_than_equal",
    ("str", "pattern"): "string_pattern_mismatch",
    ("str", "min_length"): "string_too_short",
    ("str", "max_length"): "string_too_long",
    ("tuple", "min_length"): "too_short",
    ("tuple", "max_length"): "too_long",
}
OF_KIND: Final = {
    "str": "string_type",
    "int": "int_type",
    "float": "float_type",
    "bool": "bool_type",
    "tuple": "tuple_type",
    "list": "list_type",
    "dict": "dict_type",
    "model": "model_type",
    "literal": "literal_error",
    "datetime": "datetime_from_date_parsing",
}
HARMLESS: Final = {
    "any",
    "model-fields",
    "model-field",
    "nullable",
    "default",
    "definitions",
    "definition-ref",
    "constrained-str",
}


def errors_of(contract: type[BaseModel], data: Any) -> list[dict[str, str]]:
    with pytest.raises(ValidationError) as raised:
        contract.model_validate(data)
    return describe(raised.value, contract)


def said(contract: type[BaseModel], data: Any) -> str:
    return sentence(errors_of(contract, data))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from models_in(each)


def mutants(contract: type[BaseModel]) -> Iterator[Any]:
    """Data with one odd value in each place that the contract has."""
    yield from ([], {}, {"no such field": 1}, {"x" * 1000: 1, "a\x00b": 2})
    for name, field in contract.model_fields.items():
        for odd in ODD:
            yield {name: odd}
        for inner in models_in(field.annotation):
            for mutant in mutants(inner):
                yield {name: mutant}
                yield {name: [mutant]}


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        for name, each in schema.items():
            if name not in ("metadata", "serialization", "ref", "cls", "config", "function"):
                yield from schemas_in(each)
    elif isinstance(schema, list | tuple):
        for each in schema:
            yield from schemas_in(each)


def possible(contract: type[BaseModel]) -> set[str]:
    """The errors that the contract's own schema announces."""
    contract.model_rebuild()
    found = set()
    for schema in schemas_in(contract.__pydantic_core_schema__):
        kind = schema["type"]
        found |= {OF_KIND[kind]} if kind in OF_KIND else set()
        found |= {name for (of, key), name in OF_CONSTRAINT.items() if of == kind and key in schema}
        if kind.startswith("function-"):
            found.add("value_error")
        else:
            assert kind in OF_KIND or kind in HARMLESS, f"what errors does a {kind} have?"
    return found


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_every_error_that_a_contract_can_raise_is_said_in_the_senders_words(contract: type[BaseModel]) -> None:
    raised_types: set[str] = set()
    for mutant in mutants(contract):
        try:
            contract.model_validate(mutant)
        except ValidationError as error:
            types = [each["type"] for each in error.errors(include_url=False)]
            assert set(types) <= KNOWN
            raised_types.update(types)
            for kind, each in zip(types, describe(error, contract), strict=False):
                message = each["message"]
                assert len(each["field"]) < 200
                assert len(message) < 300, kind
                assert message.isprintable()
                assert not any(word in message for word in ("Input", "Tuple", "valid", "pattern", "^"))
                assert kind in {"missing", "extra_forbidden", "value_error"} or message.endswith("came"), message
    lenient = contract is CommandEnvelope  # its functions read what they can, and refuse nothing
    expected = possible(contract) - ({"literal_error"} if lenient else set())
    assert expected - raised_types <= {"value_error"}
    assert {"missing"} & raised_types or not any(field.is_required() for field in contract.model_fields.values())


def test_every_pattern_of_every_contract_has_words() -> None:
    for contract in CONTRACTS.values():
        contract.model_rebuild()
        for schema in schemas_in(contract.__pydantic_core_schema__):
            if "pattern" in schema:
                assert schema["pattern"] in PATTERNS


@pytest.mark.parametrize(
    ("contract", "data", "expected"),
    [
        (
            PlaceOrder,
            ORDER | {"lines": [LINE | {"quantity": 0}]},
            "lines[0].quantity: more than 0 is needed; 0 came",
        ),
        (
            PlaceOrder,
            ORDER | {"lines": [LINE, LINE, LINE, LINE | {"quantity": "2"}]},
            'lines[3].quantity: a whole number is needed; the text "2" came',
        ),
        (PlaceOrder, ORDER | {"lines": []}, "lines: at least 1 entry is needed; none came"),
        (
            PlaceOrder,
            ORDER | {"lines": [7] * 5001},
            "lines: at most 5000 entries are possible, in a message of at most 1048576 bytes; 5001 came",
        ),
        (
            CreateProduct,
            {"product_id": "p", "name": "Tea", "category": "c", "price": 1, "currency": "EUR", "variants": [7] * 201},
            "variants: at most 200 entries are possible; 201 came",
        ),
        (PlaceOrder, ORDER | {"lines": {}}, "lines: a list is needed; an object came"),
        (PlaceOrder, ORDER | {"lines": [[1]]}, "lines[0]: an object is needed; a list of 1 came"),
        (
            PlaceOrder,
            ORDER | {"lines": [LINE | {"amount": 2**53 - 1}] * 2},
            f"lines: the amounts come to a total above {2**53 - 1}",
        ),
        (
            PlaceOrder,
            ORDER | {"lines": [LINE | {"colour": "red"}]},
            "lines[0].colour: there is no such field; there are product_id, name, quantity, amount",
        ),
        (
            PlaceOrder,
            ORDER | {"colour": "red"},
            "colour: there is no such field; there are order_id, customer_id, currency, lines, placed_at, fulfilment",
        ),
        (
            PlaceOrder,
            ORDER | {"currency": "euro"},
            'currency: a currency is its ISO 4217 code: three capital letters, like EUR; the text "euro" came',
        ),
        (
            PlaceOrder,
            ORDER | {"order_id": "a\r\nb"},
            'order_id: an id has 1 to 128 letters, digits or . _ : ~ @ + = -; the text "a\\r\\nb" came',
        ),
        (PlaceOrder, ORDER | {"customer_id": 7}, "customer_id: a text is needed; 7 came"),
        (
            PlaceOrder,
            ORDER | {"placed_at": "2026-02-30T00:00:00Z"},
            "placed_at: a time is RFC 3339 text with a time zone, like 2026-03-01T09:30:00Z; "
            'the text "2026-02-30T00:00:00Z" came',
        ),
        (
            PlaceOrder,
            ORDER | {"placed_at": 1_700_000_000},
            "placed_at: a time is RFC 3339 text with a time zone, like 2026-03-01T09:30:00Z; 1700000000 came",
        ),
        (
            PlaceOrder,
            ORDER | {"placed_at": "9999-01-01T00:00:00Z"},
            'placed_at: the time must lie between 1970-01-01 and 2199-12-31; the text "9999-01-01T00:00:00Z" came',
        ),
        (PayOrder, {}, "amount: is needed, and is missing"),
        (
            PayOrder,
            {"amount": 10**60},
            f"amount: at most {2**53 - 1} is possible; a number of more than 40 digits came",
        ),
        (PayOrder, {"amount": float("inf")}, "amount: a whole number is needed; inf came"),
        (PayOrder, {"amount": None, "method": ""}, "amount: a whole number is needed; null came (and 1 more)"),
        (AddReview, {"review_id": "r", "rating": 6}, "rating: at most 5 is possible; 6 came"),
        (
            CreateProduct,
            {"product_id": "p", "name": "n" * 501, "category": "c", "price": 1, "currency": "EUR"},
            "name: at most 500 characters are possible; 501 came",
        ),
        (UpdateProduct, {}, "give at least one of name, description, category, brand"),
        (
            ChangeEmail,
            {"email": "ann at example.org"},
            "email: an e-mail address looks like name@example.org; personal data, which are not shown, came",
        ),
        (
            control.Steer,
            {"job_id": 1, "to": "nowhere", "actor": "ann"},
            "to: 'paused', 'running' or 'cancelled' is needed; the text \"nowhere\" came",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_an_error_names_the_field_what_is_allowed_and_what_came(
    contract: type[BaseModel], data: Any, expected: str
) -> None:
    assert said(contract, data) == expected


def test_bad_lines_are_reported_each_and_nothing_else() -> None:
    lines = [LINE, LINE | {"quantity": 0}, LINE, LINE | {"amount": -1, "product_id": ""}]
    fields = [each["field"] for each in errors_of(PlaceOrder, ORDER | {"lines": lines})]
    assert fields == ["lines[1].quantity", "lines[3].product_id", "lines[3].amount"]


def test_a_million_bad_lines_are_counted_and_not_looked_at() -> None:
    assert len(errors_of(PlaceOrder, ORDER | {"lines": [0] * 1_000_000})) == 1


@given(st.text())
def test_whatever_text_is_shown_is_short_and_can_be_stored_and_printed(text: str) -> None:
    out = shown(text)
    assert len(out) <= MAX_SHOWN * len("\\U0001f98a") + 40
    assert out.isprintable()
    assert printable(printable(text)).isprintable()


def test_a_value_that_is_personal_is_never_quoted() -> None:
    wrong = {"customer_id": "c-1", "name": "Zanzibar" * 100, "email": "zanzibar at example"}
    with pytest.raises(ValidationError) as raised:
        RegisterCustomer.model_validate(wrong)
    found = describe(raised.value, RegisterCustomer)
    assert {each["field"] for each in found} == {"name", "email"}
    assert "zanzibar" not in str(found).lower()
    with pytest.raises(ValidationError) as raised:
        RegisterCustomer.model_validate(wrong | {"name": ["Zanzibar"], "email": 7})
    assert "zanzibar" not in str(describe(raised.value, RegisterCustomer)).lower()

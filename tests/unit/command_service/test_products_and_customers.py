"""Products and customers: refusals, what must be unique, and what changes nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from command_service.domain import customers, products
from command_service.domain.aggregate import Claims, Refused
from shared.contracts.catalog import AddReview, ChangePrice, CreateProduct, ReceiveStock, UpdateProduct
from shared.contracts.customers import ChangeEmail, EmailChanged, RegisterCustomer, RenameCustomer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CREATE = CreateProduct.model_validate(
    {
        "product_id": "p-1",
        "name": "Milk",
        "category": "Dairy",
        "price": 120,
        "currency": "EUR",
        "variants": [{"sku": "m-1"}, {"sku": "m-2"}],
    }
)
REGISTER = RegisterCustomer(customer_id="c-1", name="Ann", email="Ann@example.org")


def product(*commands: Any) -> products.Product | None:
    state: products.Product | None = None
    for command in commands:
        for event in products.decide(state, command, NOW):
            state = products.evolve(state, event)
    return state


def customer(*commands: Any) -> customers.Customer | None:
    state: customers.Customer | None = None
    for command in commands:
        for event in customers.decide(state, command, NOW):
            state = customers.evolve(state, event)
    return state


def test_a_product_s_figures_add_up() -> None:
    state = product(
        CREATE,
        ReceiveStock(quantity=5),
        ReceiveStock(quantity=7),
        AddReview(review_id="r", rating=4),
        ChangePrice(price=99),
    )
    assert state is not None
    assert (state.stock, state.review_count, state.rating_sum, state.price) == (12, 1, 4, 99)


def test_a_change_that_changes_nothing_is_accepted_without_an_event() -> None:
    assert products.decide(product(CREATE), ChangePrice(price=120), NOW) == []
    assert products.decide(product(CREATE), UpdateProduct(name="Milk"), NOW) == []
    assert customers.decide(customer(REGISTER), RenameCustomer(name="Ann"), NOW) == []


def test_an_update_keeps_what_it_does_not_name() -> None:
    state = product(CREATE, UpdateProduct(brand="Meadow"))
    assert state is not None
    assert (state.name, state.category, state.brand) == ("Milk", "Dairy", "Meadow")


@pytest.mark.parametrize(
    ("state", "command", "code"),
    [
        (None, ChangePrice(price=1), "product-not-found"),
        (product(CREATE), CREATE, "product-already-exists"),
        (product(CREATE, ReceiveStock(quantity=10**9)), ReceiveStock(quantity=1), None),
    ],
)
def test_products_refuse_with_stable_codes(state: Any, command: Any, code: str | None) -> None:
    if code is None:
        assert products.decide(state, command, NOW)
        return
    with pytest.raises(Refused) as refused:
        products.decide(state, command, NOW)
    assert refused.value.code == code


def test_skus_and_reviews_are_claimed() -> None:
    (created,) = products.decide(None, CREATE, NOW)
    assert [(claim.scope, claim.value) for claim in products.claims(created).take] == [("sku", "m-1"), ("sku", "m-2")]
    (review,) = products.decide(product(CREATE), AddReview(review_id="r-1", rating=5), NOW)
    assert [claim.code for claim in products.claims(review).take] == ["review-already-added"]


def test_an_address_is_claimed_whatever_its_case_and_released_when_it_changes() -> None:
    (registered,) = customers.decide(None, REGISTER, NOW)
    assert [claim.value for claim in customers.claims(registered).take] == ["ann@example.org"]
    (changed,) = customers.decide(customer(REGISTER), ChangeEmail(email="new@example.org"), NOW)
    claims = customers.claims(changed)
    assert list(claims.release) == [("customer-email", "ann@example.org")]
    assert [claim.value for claim in claims.take] == ["new@example.org"]


def test_only_the_case_of_an_address_changing_moves_no_claim() -> None:
    (changed,) = customers.decide(customer(REGISTER), ChangeEmail(email="ann@EXAMPLE.org"), NOW)
    assert isinstance(changed, EmailChanged)
    assert customers.claims(changed) == Claims()

"""S1: what counts as an amount of credits and of money."""

from typing import Any

import pytest

from tallystick.domain.amounts import MAX_CREDITS, Money, require_credits
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.commands import GrantBonus, Spend
from tallystick.domain.errors import InvalidAmount, InvalidInput, InvalidMoney

NOT_AMOUNTS = [0, -1, 1.5, 5.0, "5", True, False, None, 10**13, MAX_CREDITS + 1, float("nan"), float("inf")]
# Python refuses to write out a number of that many digits, so an error that quotes it must not try.
NOT_AMOUNTS += [10**5_000, -(10**5_000)]


def _shown(value: Any) -> str:
    return "huge" if isinstance(value, int) and abs(value) > 10**20 else repr(value)


@pytest.mark.parametrize("value", [1, 3, MAX_CREDITS])
def test_s1_whole_credits_up_to_a_trillion_are_amounts(value: int) -> None:
    assert require_credits(value) == value


@pytest.mark.parametrize("value", NOT_AMOUNTS, ids=_shown)
def test_s1_everything_else_is_refused_with_a_code(value: Any) -> None:
    with pytest.raises(InvalidAmount) as refused:
        require_credits(value)
    assert refused.value.code == "invalid_amount"
    assert "Nothing was changed" in refused.value.message


@pytest.mark.parametrize("value", NOT_AMOUNTS, ids=_shown)
def test_s1_no_command_can_be_made_with_a_wrong_amount(value: Any) -> None:
    with pytest.raises(InvalidAmount):
        Spend(account_id="a", key="k", amount=value)
    with pytest.raises(InvalidAmount):
        GrantBonus(account_id="a", key="k", credits=value)


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "schlüssel", "k\n", 5, None], ids=repr)
def test_s7_a_key_is_visible_ascii_of_reasonable_length(key: Any) -> None:
    with pytest.raises(InvalidInput):
        Spend(account_id="a", key=key, amount=1)


@pytest.mark.parametrize(
    ("text", "minor", "currency"),
    [("5.99 USD", 599, "USD"), ("6 USD", 600, "USD"), ("600 JPY", 600, "JPY"), ("1.250 KWD", 1250, "KWD")],
)
def test_s1_money_is_minor_units_and_a_currency(text: str, minor: int, currency: str) -> None:
    assert Money.parse(text) == Money(minor, currency)


@pytest.mark.parametrize("text", ["5.99", "5.9 USD", "5.99 usd", "-1.00 USD", "1,00 EUR", "0.5 JPY", "$5.99", ""])
def test_s1_anything_else_is_not_money(text: str) -> None:
    with pytest.raises(InvalidMoney):
        Money.parse(text)


@pytest.mark.parametrize("minor", [5.99, True, -1, "599"], ids=repr)
def test_s1_money_is_never_a_float(minor: Any) -> None:
    with pytest.raises(InvalidMoney):
        Money(minor, "USD")


@pytest.mark.parametrize(
    ("money", "text"),
    [(Money(599, "USD"), "5.99 USD"), (Money(5, "USD"), "0.05 USD"), (Money(600, "JPY"), "600 JPY")],
)
def test_money_is_written_as_it_is_read(money: Money, text: str) -> None:
    assert str(money) == text
    assert Money.parse(text) == money


@pytest.mark.parametrize("price", [5.99, 599, None], ids=repr)
def test_s1_the_price_of_a_pack_or_plan_is_money_and_nothing_else(price: Any) -> None:
    with pytest.raises(InvalidMoney):
        Pack("p", credits=200, price=price, stripe_price="price_1")
    if price is not None:
        with pytest.raises(InvalidMoney):
            Plan("plus", 500, price=price)


@pytest.mark.parametrize("plans", ["free", None, {"free": 25}, Plan("free", 25), [("free", 25)]], ids=repr)
def test_a_catalogue_of_anything_but_plans_is_refused_clearly(plans: Any) -> None:
    with pytest.raises(InvalidInput, match="made of Plan objects"):
        Catalogue(plans)

"""Stripe's test cards: what each number does, and what a form must not get past."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from stripe_sandbox.store import Object


class Behaviour(Enum):
    """What happens when a card is charged."""

    SUCCEEDS = "succeeds"
    DECLINED = "declined"
    ASKS = "asks for 3-D Secure"


@dataclass(frozen=True, slots=True)
class TestCard:
    """One test card. `decline_code` is set for those that are declined."""

    behaviour: Behaviour
    decline_code: str = ""
    code: str = "card_declined"
    message: str = ""


_DECLINED = Behaviour.DECLINED
CARDS = {
    "4242424242424242": TestCard(Behaviour.SUCCEEDS),
    "4000056655665556": TestCard(Behaviour.SUCCEEDS),
    "5555555555554444": TestCard(Behaviour.SUCCEEDS),
    "378282246310005": TestCard(Behaviour.SUCCEEDS),
    "4000000000003220": TestCard(Behaviour.ASKS),
    "4000002500003155": TestCard(Behaviour.ASKS),
    "4000000000000002": TestCard(_DECLINED, "generic_decline", message="Your card was declined."),
    "4000000000009995": TestCard(_DECLINED, "insufficient_funds", message="Your card has insufficient funds."),
    "4000000000009987": TestCard(_DECLINED, "lost_card", message="Your card was declined."),
    "4000000000000069": TestCard(_DECLINED, "expired_card", code="expired_card", message="Your card has expired."),
    "4000000000000127": TestCard(
        _DECLINED, "incorrect_cvc", code="incorrect_cvc", message="Your card's security code is incorrect."
    ),
    "4000000000000119": TestCard(
        _DECLINED,
        "processing_error",
        code="processing_error",
        message="An error occurred while processing your card. Try again in a little bit.",
    ),
}


class BadField(ValueError):
    """A field of the card form that cannot be right. `field` is its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_card(number: str, expiry: str, cvc: str, now: int) -> tuple[Object, TestCard]:
    """The card as payment methods carry it, and what it does. Raises BadField for what cannot be a card."""
    digits = re.sub(r"[\s-]", "", number)
    if not re.fullmatch(r"\d{12,19}", digits) or not _luhn(digits):
        raise BadField("card_number", "Your card number is invalid.")
    match = re.fullmatch(r"\s*(\d{1,2})\s*/?\s*(\d{2}|\d{4})\s*", expiry)
    if match is None or not 1 <= int(match.group(1)) <= 12:
        raise BadField("exp", "Your card's expiration date is incomplete.")
    month, year = int(match.group(1)), int(match.group(2)) + (2000 if len(match.group(2)) == 2 else 0)
    today = datetime.fromtimestamp(now, UTC)
    if (year, month) < (today.year, today.month):
        raise BadField("exp", "Your card's expiration date is in the past.")
    if not re.fullmatch(r"\d{4}" if _brand(digits) == "amex" else r"\d{3}", cvc.strip()):
        raise BadField("cvc", "Your card's security code is incomplete.")
    card = CARDS.get(digits)
    if card is None:
        raise BadField("card_number", "This is not a test card. Use one of Stripe's, like 4242 4242 4242 4242.")
    return {
        "brand": _brand(digits),
        "exp_month": month,
        "exp_year": year,
        "last4": digits[-4:],
        "fingerprint": hashlib.sha256(digits.encode()).hexdigest()[:16],
    }, card


def _brand(digits: str) -> str:
    return {"4": "visa", "5": "mastercard", "3": "amex"}.get(digits[0], "visa")


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0

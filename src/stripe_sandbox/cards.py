"""What a test card is and how it behaves, and what a card form must not get past. `card_table` has the cards."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from stripe_sandbox.store import Object


class Authentication(Enum):
    """When a card asks for 3-D Secure."""

    NEVER = "never"
    ALWAYS = "always"
    UNLESS_SET_UP = "unless it was set up for off-session payments"
    ON_SESSION = "only while the customer is there, as if it had been set up before"


class Refunding(Enum):
    """How a refund to a card goes."""

    AT_ONCE = "succeeds at once"
    LATER = "is pending, and succeeds later"
    FAILS_LATER = "succeeds, and fails later"


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a bank says no, as errors and outcomes tell it."""

    decline_code: str
    code: str = "card_declined"
    message: str = "Your card was declined."
    network_code: str | None = None
    advice: str | None = None
    blocked: bool = False
    """Blocked for its risk, before the network was asked."""


@dataclass(frozen=True, slots=True)
class TestCard:
    """One test card. `disputes` are the kinds that follow a payment with it, `checks` what is not as usual."""

    number: str
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    decline: Decline | None = None
    attaches: bool = True
    """Whether it can be attached to a customer; one that declines usually cannot."""
    authentication: Authentication = Authentication.NEVER
    disputes: tuple[str, ...] = ()
    warned: bool = False
    """Whether an early fraud warning follows a payment with it."""
    refunding: Refunding = Refunding.AT_ONCE
    risk: str = "normal"
    checks: dict[str, str] = field(default_factory=dict)
    available: bool = False
    """Whether its money is available at once, without being pending first."""

    @property
    def cvc_length(self) -> int:
        """How many digits its security code has."""
        return 4 if self.brand == "amex" else 3

    @property
    def fingerprint(self) -> str:
        """What is the same for the same number."""
        return hashlib.sha256(self.number.encode()).hexdigest()[:16]

    def asks(self, *, off_session: bool, set_up: bool) -> bool:
        """Whether a payment needs 3-D Secure, which nobody can answer off session."""
        if self.authentication is Authentication.ALWAYS:
            return True
        if self.authentication is Authentication.UNLESS_SET_UP:
            return not (off_session and set_up)
        return self.authentication is Authentication.ON_SESSION and not off_session

    @property
    def asks_on_setup(self) -> bool:
        """Whether saving it for later needs 3-D Secure."""
        return self.authentication in (Authentication.ALWAYS, Authentication.UNLESS_SET_UP)


AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    code="authentication_required",
    message="Your card was declined. This transaction requires authentication.",
)


class BadField(ValueError):
    """A field of a card that cannot be right. `field` is its name, `code` what Stripe's API calls it."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


def digits_of(number: str) -> str:
    """The digits of a card number as people type it. Raises BadField when it cannot be one."""
    digits = re.sub(r"[\s-]", "", number)
    if not re.fullmatch(r"\d{12,19}", digits) or not _luhn(digits):
        raise BadField("card_number", "incorrect_number", "Your card number is invalid.")
    return digits


def read_expiry(expiry: str, now: int) -> tuple[int, int]:
    """Month and year of `MM / YY`. Raises BadField for what is not a date, or is past."""
    match = re.fullmatch(r"\s*(\d{1,2})\s*/?\s*(\d{2}|\d{4})\s*", expiry)
    if match is None or not 1 <= int(match.group(1)) <= 12:
        raise BadField("exp", "invalid_expiry_month", "Your card's expiration date is incomplete.")
    month, year = int(match.group(1)), int(match.group(2)) + (2000 if len(match.group(2)) == 2 else 0)
    if is_past(month, year, now):
        raise BadField("exp", "invalid_expiry_year", "Your card's expiration date is in the past.")
    return month, year


def check_cvc(card: TestCard, cvc: str) -> None:
    """Raises BadField for a security code of another length than the card's."""
    if not re.fullmatch(rf"\d{{{card.cvc_length}}}", cvc.strip()):
        raise BadField("cvc", "invalid_cvc", "Your card's security code is incomplete.")


def is_past(month: int, year: int, now: int) -> bool:
    """Whether a card of that expiry has expired."""
    today = datetime.fromtimestamp(now, UTC)
    return (year, month) < (today.year, today.month)


def on_file(card: TestCard, month: int, year: int, *, cvc: bool) -> Object:
    """The card as payment methods carry it; `cvc` says whether a security code was given."""
    return {
        "brand": card.brand,
        "checks": {
            "address_line1_check": card.checks.get("address_line1_check"),
            "address_postal_code_check": card.checks.get("address_postal_code_check"),
            "cvc_check": card.checks.get("cvc_check", "pass") if cvc else None,
        },
        "country": card.country,
        "display_brand": {"amex": "american_express", "diners": "diners_club"}.get(card.brand, card.brand),
        "exp_month": month,
        "exp_year": year,
        "fingerprint": card.fingerprint,
        "funding": card.funding,
        "generated_from": None,
        "last4": card.number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": card.brand != "amex"},
        "wallet": None,
    }


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0

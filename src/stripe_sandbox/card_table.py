"""Stripe's test cards, and the names that stand for them in API calls (`pm_card_…`, `tok_…`).

From Stripe's page of test cards. The README next to this file lists them for people.
"""

from stripe_sandbox.cards import Authentication, Decline, Refunding, TestCard
from stripe_sandbox.store import Object

_GENERIC = Decline("generic_decline", network_code="01", advice="try_again_later")
_FUNDS = Decline(
    "insufficient_funds", message="Your card has insufficient funds.", network_code="51", advice="try_again_later"
)
_BLOCKED = Decline("fraudulent", blocked=True)

_BRANDS = {
    "visa": TestCard("4242424242424242"),
    "visa_debit": TestCard("4000056655665556", funding="debit"),
    "mastercard": TestCard("5555555555554444", "mastercard"),
    "mastercard_debit": TestCard("5200828282828210", "mastercard", "debit"),
    "mastercard_prepaid": TestCard("5105105105105100", "mastercard", "prepaid"),
    "amex": TestCard("371449635398431", "amex"),
    "discover": TestCard("6011000990139424", "discover"),
    "diners": TestCard("3056930009020004", "diners"),
    "jcb": TestCard("3566002020360505", "jcb", country="JP"),
    "unionpay": TestCard("6200000000000005", "unionpay", country="CN"),
}
_MORE_BRANDS = (
    TestCard("2223003122003222", "mastercard"),
    TestCard("378282246310005", "amex"),
    TestCard("6011111111111117", "discover"),
    TestCard("6011981111111113", "discover", "debit"),
    TestCard("36227206271667", "diners"),
    TestCard("3530111333300000", "jcb", country="JP"),
    TestCard("6200000000000047", "unionpay", "debit", "CN"),
    TestCard("6205500000000000004", "unionpay", country="CN"),
)

_COUNTRIES = """
ar 4000000320000021 br 4000000760000002 ca 4000001240000000 cl 4000001520000001 co 4000001700000003
cr 4000001880000005 ec 4000002180000000 mx 4000004840008001 pa 4000005910000000 py 4000006000000066
pe 4000006040000068 uy 4000008580000003 ae 4000007840000001 at 4000000400000008 be 4000000560000004
bg 4000001000000000 by 4000001120000005 hr 4000001910000009 cy 4000001960000008 cz 4000002030000002
dk 4000002080000001 ee 4000002330000009 fi 4000002460000001 fr 4000002500000003 de 4000002760000016
gi 4000002920000005 gr 4000003000000030 hu 4000003480000005 ie 4000003720000005 it 4000003800000008
lv 4000004280000005 li 4000004380000004 lt 4000004400000000 lu 4000004420000006 mt 4000004700000007
nl 4000005280000002 no 4000005780000007 pl 4000006160000005 pt 4000006200000007 ro 4000006420000001
sa 4000006820000007 si 4000007050000006 sk 4000007030000001 es 4000007240000007 se 4000007520000008
ch 4000007560000009 gb 4000008260000000 au 4000000360000006 cn 4000001560000002 hk 4000003440000004
in 4000003560000008 jp 4000003920000003 my 4000004580000002 nz 4000005540000008 sg 4000007020000003
tw 4000001580000008 th_credit 4000007640000003 th_debit 4000057640000008 gb_debit 4000058260000005
"""

_DECLINES = {
    "visa_chargeDeclined": ("4000000000000002", _GENERIC),
    "visa_chargeDeclinedInsufficientFunds": ("4000000000009995", _FUNDS),
    "visa_chargeDeclinedLostCard": (
        "4000000000009987",
        Decline("lost_card", network_code="41", advice="do_not_try_again"),
    ),
    "visa_chargeDeclinedStolenCard": (
        "4000000000009979",
        Decline("stolen_card", network_code="43", advice="do_not_try_again"),
    ),
    "visa_chargeDeclinedVelocityLimitExceeded": (
        "4000000000006975",
        Decline(
            "card_velocity_exceeded",
            message="Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
            network_code="65",
            advice="try_again_later",
        ),
    ),
    "chargeDeclinedExpiredCard": (
        "4000000000000069",
        Decline("expired_card", "expired_card", "Your card has expired.", "54", "confirm_card_data"),
    ),
    "chargeDeclinedIncorrectCvc": (
        "4000000000000127",
        Decline(
            "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", "N7", "confirm_card_data"
        ),
    ),
    "chargeDeclinedProcessingError": (
        "4000000000000119",
        Decline(
            "processing_error",
            "processing_error",
            "An error occurred while processing your card. Try again in a little bit.",
            advice="try_again_later",
        ),
    ),
    "radarBlock": ("4100000000000019", _BLOCKED),
    "riskLevelHighest": ("4000000000004954", _BLOCKED),
}

_ASKS = Authentication.ALWAYS
SPECIAL = {
    "chargeCustomerFail": TestCard("4000000000000341", decline=_GENERIC),
    "authenticationRequiredOnSetup": TestCard(
        "4000002500003155", country="FR", authentication=Authentication.UNLESS_SET_UP
    ),
    "authenticationRequired": TestCard("4000002760003184", country="DE", authentication=_ASKS),
    "authenticationRequiredSetupForOffSession": TestCard(
        "4000003800000446", country="IT", authentication=Authentication.ON_SESSION
    ),
    "authenticationRequiredChargeDeclinedInsufficientFunds": TestCard(
        "4000008260003178", country="GB", authentication=Authentication.UNLESS_SET_UP, decline=_FUNDS
    ),
    "threeDSecure2Required": TestCard("4000000000003220", country="IE", authentication=_ASKS),
    "threeDSecureRequired": TestCard("4000008400000027", authentication=_ASKS),
    "threeDSecureRequiredChargeDeclined": TestCard("4000008400001629", authentication=_ASKS, decline=_GENERIC),
    "threeDSecureRequiredProcessingError": TestCard("4000008400001280", decline=_GENERIC),
    "threeDSecureOptional": TestCard("4000000000003055"),
    "threeDSecureOptionalProcessingError": TestCard("4000000000003097"),
    "createDispute": TestCard("4000000000000259", disputes=("fraudulent",)),
    "createDisputeProductNotReceived": TestCard("4000000000002685", disputes=("product_not_received",)),
    "createDisputeInquiry": TestCard("4000000000001976", disputes=("inquiry",)),
    "createMultipleDisputes": TestCard("4000000404000079", disputes=("fraudulent", "product_not_received")),
    "createIssuerFraudRecord": TestCard("4000000000005423", warned=True),
    "pendingRefund": TestCard("4000000000007726", refunding=Refunding.LATER),
    "refundFail": TestCard("4000000000005126", refunding=Refunding.FAILS_LATER),
    "bypassPending": TestCard("4000000000000077", available=True),
    "bypassPendingInternational": TestCard("4000003720000278", country="IE", available=True),
    "riskLevelElevated": TestCard("4000000000009235", risk="elevated"),
    "cvcCheckFail": TestCard("4000000000000101", checks={"cvc_check": "fail"}),
    "avsZipFail": TestCard("4000000000000036", checks={"address_postal_code_check": "fail"}),
    "avsLine1Fail": TestCard("4000000000000028", checks={"address_line1_check": "fail"}),
    "avsFail": TestCard(
        "4000000000000010", checks={"address_line1_check": "fail", "address_postal_code_check": "fail"}
    ),
    "avsUnchecked": TestCard(
        "4000000000000044", checks={"address_line1_check": "unavailable", "address_postal_code_check": "unavailable"}
    ),
}
"""By name: the cards that behave in a way of their own."""


def _named() -> dict[str, TestCard]:
    """All cards that have a name, without what goes before it."""
    words = _COUNTRIES.split()
    countries = {
        name: TestCard(number, funding="debit" if name.endswith("_debit") else "credit", country=name[:2].upper())
        for name, number in zip(words[::2], words[1::2], strict=True)
    }
    declines = {
        name: TestCard(number, decline=decline, attaches=False, risk="highest" if decline.blocked else "normal")
        for name, (number, decline) in _DECLINES.items()
    }
    also = {
        "us": _BRANDS["visa"],
        "chargeDeclined": declines["visa_chargeDeclined"],
        "chargeDeclinedInsufficientFunds": declines["visa_chargeDeclinedInsufficientFunds"],
        "amex_threeDSecureNotSupported": _BRANDS["amex"],
    }
    return {**_BRANDS, **countries, **declines, **SPECIAL, **also}


_NAMED = _named()
CARDS = {card.number: card for card in (*_NAMED.values(), *_MORE_BRANDS)}
"""Every test card by its number."""

PLAIN = _BRANDS["visa"]


def by_token(token: str) -> TestCard | None:
    """The card that `pm_card_visa` or `tok_visa` stands for, or None for what is no such name."""
    for prefix in ("pm_card_", "tok_"):
        if token.startswith(prefix):
            return _NAMED.get(token.removeprefix(prefix))
    return None


def card_of(method: Object) -> TestCard:
    """The card behind a payment method; a plain one that succeeds behind any other."""
    return CARDS.get(method.get("_number", ""), PLAIN)

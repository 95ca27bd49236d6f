"""Paying in one's own currency (Adaptive Pricing): whose that is, and what a price comes to in it.

As in Stripe's test mode, an e-mail address says where a customer is: `anything+location_FR@example.com`. Rates never
change here.
"""

import re
from decimal import ROUND_HALF_UP, Decimal

from stripe_sandbox.money import decimals
from stripe_sandbox.store import Object

_EURO = ("AT", "BE", "DE", "ES", "FI", "FR", "IE", "IT", "NL", "PT")
_CURRENCIES = {
    **dict.fromkeys(_EURO, "eur"),
    "CA": "cad",
    "CH": "chf",
    "GB": "gbp",
    "HU": "huf",
    "JP": "jpy",
    "MX": "mxn",
    "PL": "pln",
    "US": "usd",
}
_PER_DOLLAR = {
    name: Decimal(rate)
    for name, rate in {
        "usd": "1",
        "eur": "0.92",
        "cad": "1.37",
        "chf": "0.88",
        "gbp": "0.79",
        "huf": "362",
        "jpy": "151",
        "mxn": "18.4",
        "pln": "3.95",
    }.items()
}


def offered(session: Object) -> Object | None:
    """What the buyer of a session can pay in their own currency instead, as `presentment_details`; None if nothing."""
    email = (session["customer_details"] or {}).get("email") or ""
    where = re.search(r"\+location_([A-Z]{2})@", email)
    theirs = _CURRENCIES.get(where[1]) if where else None
    ours = session["currency"]
    asked = session["adaptive_pricing"]["enabled"] and session["mode"] == "payment" and session["amount_total"]
    if not asked or theirs in (None, ours) or theirs not in _PER_DOLLAR or ours not in _PER_DOLLAR:
        return None
    units = Decimal(session["amount_total"]) / 10 ** decimals(ours) * _PER_DOLLAR[theirs] / _PER_DOLLAR[ours]
    amount = int((units * 10 ** decimals(theirs)).quantize(Decimal(1), ROUND_HALF_UP))
    return {"presentment_amount": amount, "presentment_currency": theirs}

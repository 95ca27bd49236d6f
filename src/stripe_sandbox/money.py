"""Amounts of money as people read them, and the least that can be charged."""

MINIMUM = 50
"""The least a payment may come to, in cents."""

_ZERO_DECIMAL = frozenset({"jpy", "krw", "vnd", "clp"})
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


def shown(minor: int, currency: str) -> str:
    """`minor` units of a currency for people: $5.99."""
    text = f"{minor:,}" if currency in _ZERO_DECIMAL else f"{minor / 100:,.2f}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{text}" if symbol else f"{text} {currency.upper()}"

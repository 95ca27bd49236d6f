"""Amounts of money as people read them, shares of them in whole minor units, and the least that can be charged."""

from collections.abc import Sequence

MINIMUM = 50
"""The least a payment may come to, in cents."""

_ZERO_DECIMAL = frozenset({"jpy", "krw", "vnd", "clp"})
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


def shown(minor: int, currency: str) -> str:
    """`minor` units of a currency for people: $5.99, or -$5.99."""
    places = decimals(currency)
    number = f"{abs(minor) / 10**places:,.{places}f}"
    sign = "-" if minor < 0 else ""
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{number} {currency.upper()}"


def decimals(currency: str) -> int:
    """How many places its minor units have."""
    return 0 if currency in _ZERO_DECIMAL else 2


def share(amount: int, part: int, whole: int) -> int:
    """`amount * part / whole`, rounded to the nearest unit, halves away from zero."""
    rounded = (2 * abs(amount) * part + whole) // (2 * whole)
    return rounded if amount >= 0 else -rounded


def split(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole units, in proportion to `weights`; what is left over goes to the first ones."""
    whole = sum(weights)
    if whole == 0:
        return [0 for _ in weights]
    parts = [total * weight // whole for weight in weights]
    for n in range(total - sum(parts)):
        parts[n] += 1
    return parts

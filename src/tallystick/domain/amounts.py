"""Amounts of credits and of money, and what is refused as one (S1)."""

import re
from dataclasses import dataclass
from typing import Self

from tallystick.domain.errors import InvalidAmount, InvalidMoney, shown

MAX_CREDITS = 10**12
"""The most credits one operation may move (S1)."""

MAX_BALANCE = 10**15
"""The most credits one account may hold: well inside 2^53, so that every JSON reader keeps it exact."""

_ZERO_DECIMAL = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF".split())
_THREE_DECIMAL = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
_WRITTEN = re.compile(r"(\d{1,12})(?:\.(\d{1,3}))? ([A-Z]{3})")


def require_credits(value: object, name: str = "amount") -> int:
    """Return `value` if it is a whole number of credits from 1 to 10^12, else raise InvalidAmount (S1)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidAmount(
            f"{name} must be a whole number of credits, not {type(value).__name__} {shown(value)}. "
            "Nothing was changed.",
            name=name,
        )
    if not 1 <= value <= MAX_CREDITS:
        raise InvalidAmount(
            f"{name} must be from 1 to {MAX_CREDITS:,} credits, not {shown(value)}. Nothing was changed.",
            name=name,
        )
    return value


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of money: `minor` units (cents for USD, yen for JPY) of an ISO 4217 `currency`."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if isinstance(self.minor, bool) or not isinstance(self.minor, int) or self.minor < 0:
            raise InvalidMoney(f"Money is a whole number of minor units, not {shown(self.minor)}.")
        if not re.fullmatch(r"[A-Z]{3}", self.currency):
            raise InvalidMoney(f"A currency is three capital letters (ISO 4217), not {shown(self.currency)}.")

    @property
    def decimals(self) -> int:
        """How many decimal places the currency has: 2 for USD, 0 for JPY, 3 for KWD."""
        if self.currency in _ZERO_DECIMAL:
            return 0
        return 3 if self.currency in _THREE_DECIMAL else 2

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read money as people write it in a catalogue: `"5.99 USD"`, `"600 JPY"`. Raises InvalidMoney."""
        match = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidMoney(f"Write money as an amount and a currency, like '5.99 USD', not {shown(text)}.")
        whole, fraction, currency = match.group(1), match.group(2) or "", match.group(3)
        decimals = cls(0, currency).decimals
        if fraction and len(fraction) != decimals:
            raise InvalidMoney(f"{currency} has {decimals} decimal places, so {text!r} is not an amount of it.")
        return cls(int(whole + fraction.ljust(decimals, "0")), currency)

    def __str__(self) -> str:
        if self.decimals == 0:
            return f"{self.minor} {self.currency}"
        whole, fraction = divmod(self.minor, 10**self.decimals)
        return f"{whole}.{fraction:0{self.decimals}} {self.currency}"

"""Ids of the form and length that Stripe gives them."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_LENGTHS = {
    "acct": 21,
    "cus": 18,
    "prod": 19,
    "price": 30,
    "pi": 27,
    "ch": 27,
    "py": 27,
    "re": 27,
    "pyr": 28,
    "txn": 28,
    "du": 27,
    "issfr": 30,
    "seti": 29,
    "setatt": 31,
    "pm": 27,
    "in": 27,
    "il": 27,
    "li": 27,
    "evt": 28,
    "sub": 28,
    "si": 17,
    "we": 27,
    "inpay": 30,
    "ii": 27,
    "di": 27,
    "promo": 30,
    "txr": 28,
    "cbtxn": 30,
    "clock": 30,
    "bps": 28,
    "bpc": 28,
    "sub_sched": 34,
    "req": 18,
    "cs_test": 66,
    "evt_test": 54,
    "ed_test": 51,
}


def new_id(prefix: str) -> str:
    """A new id with `prefix`, as long as Stripe's are."""
    length = _LENGTHS[prefix]
    if prefix == "cs_test":
        return f"cs_test_a1{_random(length - 10)}"
    return f"{prefix}_{_random(length - len(prefix) - 1)}"


def client_secret(id: str) -> str:
    """The client secret of a payment or setup intent."""
    return f"{id}_secret_{_random(25)}"


def webhook_secret() -> str:
    """A signing secret for a webhook endpoint."""
    return f"whsec_{_random(32)}"


def digits(length: int) -> str:
    """A number of so many digits, as networks give to payments."""
    return _random(length, string.digits)


def _random(length: int, alphabet: str = _ALPHABET) -> str:
    # One number for all of them: asking the system for each costs more than everything else that is done with an id.
    number = secrets.randbelow(len(alphabet) ** length)
    letters = []
    for _ in range(length):
        number, letter = divmod(number, len(alphabet))
        letters.append(alphabet[letter])
    return "".join(letters)

"""The ledger: the one door to an account, and its two stores."""

from tallystick.ledger.batch import Receipt
from tallystick.ledger.ledger import Ledger

__all__ = ["Ledger", "Receipt"]

"""Taking back: what refunds and disputes of a payment mean for the credits it bought (S23, S25).

Every event about a payment ends here, in one look at all of it as it is at Stripe now, so their order does
not matter (S27). What is taken back is one number, which the ledger brings up or down to.
"""

from dataclasses import dataclass
from typing import Any

import structlog

from tallystick.billing.fulfilment import Fulfilment
from tallystick.billing.purchases import Purchase, Purchases, PurchaseStatus
from tallystick.billing.standings import UNDECIDED, WARNING, of_disputes
from tallystick.billing.stripe_api import StripeApi
from tallystick.domain.account import Clawback, Entry
from tallystick.domain.amounts import Money
from tallystick.domain.commands import ClawBack
from tallystick.domain.errors import ClawbackSuperseded
from tallystick.ledger import Ledger

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Payment:
    """What became of a payment, in minor units of its currency.

    `disputed` were withdrawn for disputes and have not come back. `undecided` says whether a dispute is
    open whose funds are still here; `standing` is the status of the dispute that matters most, or of a warning.
    `charge` is the status of the latest charge: only one that has succeeded has `paid` anything.
    """

    paid: int
    currency: str
    refunded: int
    disputed: int
    undecided: bool
    standing: str | None
    charge: str | None

    @property
    def gone(self) -> int:
        """What of it is not ours any more."""
        return min(self.paid, self.refunded + self.disputed)

    def credits_to_take(self, credits: int) -> int:
        """How many of the `credits` it bought are to be taken back: all of them at 100 %, else rounded down (S23)."""
        return credits * self.gone // self.paid if self.paid else 0


class Clawbacks:
    """Brings what is taken back of a purchase to where Stripe says it is."""

    def __init__(self, api: StripeApi, ledger: Ledger, purchases: Purchases, fulfilment: Fulfilment) -> None:
        self._api = api
        self._ledger = ledger
        self._purchases = purchases
        self._fulfilment = fulfilment

    async def of_charge(self, charge_id: str) -> Purchase | None:
        """Something happened to a charge."""
        return await self._of((await self._api.charge(charge_id))["payment_intent"])

    async def of_refund(self, refund_id: str) -> Purchase | None:
        """Something happened to a refund."""
        return await self._of((await self._api.stripe_refund(refund_id))["payment_intent"])

    async def of_dispute(self, dispute_id: str) -> Purchase | None:
        """Something happened to a dispute."""
        return await self._of((await self._api.dispute(dispute_id))["payment_intent"])

    async def of_warning(self, warning_id: str) -> Purchase | None:
        """A bank has doubts about a payment. Nothing is taken for it; an operator sees it."""
        return await self._of((await self._api.early_fraud_warning(warning_id))["payment_intent"])

    async def _of(self, payment_intent_id: str | None) -> Purchase | None:
        return None if payment_intent_id is None else await self.sync(payment_intent_id)

    async def sync(self, payment_intent_id: str) -> Purchase | None:
        """Look at a payment and do what follows from it; whoever asks, however often. None when it is not ours.

        A purchase that was not credited yet is brought up to date first: events have no order.
        """
        purchase = await self._purchase_of(payment_intent_id)
        if purchase is None:
            log.info("payment_not_ours", payment_intent_id=payment_intent_id)
            return None
        look = await self._purchases.begin_look(purchase)
        payment = await self.look_at(payment_intent_id)
        entry = await self._ledger.entry_by_key(look.account_id, look.ledger_key)
        seen: dict[str, Any] = {"refunded_minor": payment.refunded, "dispute": payment.standing}
        if entry is not None and entry.grant is not None:
            seen["clawed_back"] = await self._take(look, entry, entry.grant.remaining, payment)
        return await self._purchases.finish_look(look, **seen)

    async def look_at(self, payment_intent_id: str) -> Payment:
        """What became of a payment, as Stripe has it now."""
        intent = await self._api.payment(payment_intent_id)
        disputes = await self._api.disputes_of(payment_intent_id)
        warnings = await self._api.early_fraud_warnings_of(payment_intent_id)
        charge = intent["latest_charge"] or {"status": None, "amount_refunded": 0}
        standing = of_disputes(dispute["status"] for dispute in disputes) or (WARNING if warnings else None)
        return Payment(
            paid=charge["amount_captured"] if charge["status"] == "succeeded" else 0,
            currency=intent["currency"].upper(),
            refunded=charge["amount_refunded"],
            disputed=sum(dispute["amount"] for dispute in disputes if _is_withdrawn(dispute)),
            undecided=any(d["status"] in UNDECIDED and not _is_withdrawn(d) for d in disputes),
            standing=standing,
            charge=charge["status"],
        )

    async def _purchase_of(self, payment_intent_id: str) -> Purchase | None:
        purchase = await self._purchases.of_payment(payment_intent_id)
        if purchase is None:
            metadata = (await self._api.payment(payment_intent_id)).get("metadata") or {}
            purchase = await self._purchases.get(metadata.get("purchase_id", ""))
        if purchase is not None and purchase.status is not PurchaseStatus.CREDITED:
            purchase = await self._fulfilment.fulfil(purchase.checkout_session_id)
        # What a payment's metadata says can be edited; what its checkout session says was paid cannot.
        return purchase if purchase is not None and purchase.payment_intent_id == payment_intent_id else None

    async def _take(self, look: Purchase, granted: Entry, credits: int, payment: Payment) -> int:
        """Let the ledger take back what has to be. Returns how much that is, all in all."""
        total = payment.credits_to_take(credits)
        known = (await self._ledger.account(look.account_id)).clawback_of(granted.seq)
        agrees = (known.total, known.frozen) == (total, payment.undecided)
        # An earlier look that is still under way must not have the last word, so it is told that it is late.
        if agrees and look.looks_done == look.looks - 1:
            return total
        try:
            await self._ledger.submit(
                ClawBack(
                    account_id=look.account_id,
                    key=f"clawback:{look.id}:{look.looks}",
                    grant=granted.seq,
                    total=total,
                    version=look.looks,
                    frozen=payment.undecided,
                    reason=_reason(look, known, total, payment),
                    reference=look.id,
                )
            )
        except ClawbackSuperseded:
            log.info("clawback_superseded", purchase_id=look.id, look=look.looks)
            return (await self._ledger.account(look.account_id)).clawback_of(granted.seq).total
        log.info("clawback", purchase_id=look.id, total=total, frozen=payment.undecided, standing=payment.standing)
        return total


def _is_withdrawn(dispute: dict[str, Any]) -> bool:
    """Whether a dispute's funds are gone. Lost is final (S25); of all others the money itself tells."""
    if dispute["status"] in ("lost", "won", "warning_closed"):
        return bool(dispute["status"] == "lost")
    moved: int = sum(transaction["amount"] for transaction in dispute["balance_transactions"])
    return moved < 0


def _reason(look: Purchase, known: Clawback, total: int, payment: Payment) -> str:
    """What the customer's history says about it: of what has changed since the last look, which `look` remembers."""
    undone = total < known.total and payment.refunded < look.refunded_minor
    only_refunds = undone or (payment.standing == look.dispute and payment.refunded != look.refunded_minor)
    said = None if only_refunds else _reason_of_dispute(known, total, payment.standing)
    if said is not None:
        return said
    if total < known.total:
        return "A refund did not arrive and was undone"
    return f"{Money(payment.refunded, payment.currency)} of {Money(payment.paid, payment.currency)} refunded"


def _reason_of_dispute(known: Clawback, total: int, standing: str | None) -> str | None:
    match standing:
        case "won" | "warning_closed" if total <= known.total:
            return "The dispute of this payment was decided in our favour"
        case _ if total < known.total and (standing == "lost" or standing in UNDECIDED):
            return "One of the disputes of this payment was decided in our favour"
        case "lost":
            return "The dispute of this payment was lost"
        case "prevented" if total >= known.total:
            return "The bank gave this payment back before it was disputed"
        case _ if standing in UNDECIDED:
            return "The bank disputes this payment"
    return None

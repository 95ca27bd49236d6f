"""The way back from Stripe: one idempotent `fulfil` for webhook, return page and retries (S20, S21)."""

from typing import Any

import structlog

from tallystick.billing.agreement import disagreement, quantity_of
from tallystick.billing.customers import Customers
from tallystick.billing.errors import NeedsOperator, StripeRejected
from tallystick.billing.purchases import Purchase, Purchases, PurchaseStatus
from tallystick.billing.stripe_api import BillingSettings, StripeApi
from tallystick.domain.account import GrantKind
from tallystick.domain.amounts import Money
from tallystick.domain.commands import GrantBonus
from tallystick.domain.errors import IdempotencyConflict, Refusal
from tallystick.ledger import Ledger

PAID = ("paid", "no_payment_required")
_UNSETTLED = (PurchaseStatus.OPEN, PurchaseStatus.PENDING)
# What Stripe says has been paid is credited even if an earlier message had ended the purchase.
_CREDITABLE = (*_UNSETTLED, PurchaseStatus.EXPIRED, PurchaseStatus.FAILED)

SESSION_GONE = "Stripe does not have its checkout session. Were test data deleted, or is the key of another account?"
"""The problem of a purchase that was closed because nobody can pay it any more."""

# A payment intent of a completed session in one of these waits for nothing any more.
_NOT_COMING = ("requires_payment_method", "canceled")

log = structlog.get_logger(__name__)


class Fulfilment:
    """Brings a purchase to where Stripe says it is."""

    def __init__(
        self,
        settings: BillingSettings,
        api: StripeApi,
        ledger: Ledger,
        purchases: Purchases,
        customers: Customers,
    ) -> None:
        self._settings = settings
        self._api = api
        self._ledger = ledger
        self._purchases = purchases
        self._customers = customers

    async def fulfil(self, checkout_session_id: str) -> Purchase | None:
        """Look at the session at Stripe and do what follows from it; whoever asks, however often.

        Credits only what Stripe says is paid, only what the purchase's frozen terms say, and only when
        both agree; otherwise the purchase needs review and nothing is credited (S20). Returns None for a
        session that is not ours. Raises NeedsOperator for a paid one that claims to be ours and is not
        known, and for one of two that were paid for the same purchase; StripeUnavailable, LedgerUnavailable.
        """
        purchase = await self._purchases.of_session(checkout_session_id)
        if purchase is not None and purchase.status in (PurchaseStatus.CREDITED, PurchaseStatus.NEEDS_REVIEW):
            return purchase
        session = await self._api.session(checkout_session_id)
        if purchase is None:
            purchase = await self._recovered(session)
        if purchase is None:
            _check_not_ours(session)
            return None
        if purchase.checkout_session_id != checkout_session_id:
            # A checkout that goes on from an expired one, and has not been paid: the purchase is as it was.
            return purchase
        problem = disagreement(
            purchase,
            session,
            livemode=self._settings.livemode,
            account_id=await self._customers.account_of(session["customer"]) if session["customer"] else None,
        )
        if problem is not None:
            return await self._review(purchase, session, problem)
        if session["payment_status"] in PAID and session["status"] == "complete":
            return await self._credit(purchase, session)
        if session["status"] == "expired":
            return await self._purchases.move(
                purchase, PurchaseStatus.EXPIRED, leaving=_UNSETTLED, recovery_url=_recovery_url(session)
            )
        if session["status"] == "complete":
            purchase = await self._purchases.move(
                purchase,
                PurchaseStatus.PENDING,
                leaving=[PurchaseStatus.OPEN],
                payment_intent_id=_intent_id(session),
            )
            if is_not_coming(session):
                return await self._fail(purchase)
        return purchase

    async def look_again(self, purchase: Purchase) -> Purchase:
        """Do as `fulfil` for an open purchase that its buyer wants to go on with.

        One whose session Stripe does not have is ended as expired: nobody can pay it. That Stripe does not answer, or
        refuses for another reason, ends nothing and is raised. Only here: an event or a return visit tells of a
        session that is there, and must not be done with because of a key of another account.
        """
        try:
            return await self.fulfil(purchase.checkout_session_id) or purchase
        except StripeRejected as error:
            if not error.is_missing:
                raise
        log.warning("session_gone", purchase_id=purchase.id, checkout_session_id=purchase.checkout_session_id)
        return await self._purchases.move(
            purchase, PurchaseStatus.EXPIRED, leaving=[PurchaseStatus.OPEN], problem=SESSION_GONE
        )

    async def _recovered(self, session: dict[str, Any]) -> Purchase | None:
        """The purchase whose expired checkout this session goes on from. Once completed it takes its place.

        Raises NeedsOperator when the purchase was paid by another session already: then this is paid twice.
        """
        if session.get("recovered_from") is None:
            return None
        purchase = await self._purchases.get((session.get("metadata") or {}).get("purchase_id", ""))
        if purchase is None or session["status"] != "complete":
            return purchase
        taken = await self._purchases.take_up(purchase, session, leaving=_CREDITABLE)
        _check_not_paid_twice(taken, session)
        return taken

    async def payment_failed(self, checkout_session_id: str) -> Purchase | None:
        """A delayed payment did not come. Looks at Stripe first: it may have been paid after all (S21)."""
        purchase = await self.fulfil(checkout_session_id)
        if purchase is None or purchase.is_settled or purchase.checkout_session_id != checkout_session_id:
            return purchase
        return await self._fail(purchase)

    async def _fail(self, purchase: Purchase) -> Purchase:
        return await self._purchases.move(
            purchase,
            PurchaseStatus.FAILED,
            leaving=_UNSETTLED,
            problem="The bank payment did not arrive. Nothing was charged.",
        )

    async def _review(self, purchase: Purchase, session: dict[str, Any], problem: str) -> Purchase:
        log.warning("purchase_needs_review", purchase_id=purchase.id, problem=problem)
        return await self._settle(purchase, session, PurchaseStatus.NEEDS_REVIEW, problem=problem)

    async def _settle(
        self, purchase: Purchase, session: dict[str, Any], to: PurchaseStatus, **values: Any
    ) -> Purchase:
        """End a purchase by this session, unless another one has ended it: raises NeedsOperator if that was paid twice.

        Another session may have taken the purchase up since this one did. What it is ended by is named together with
        its payment, so that a refund is one of what was credited.
        """
        settled = await self._purchases.move(
            purchase,
            to,
            leaving=_CREDITABLE,
            checkout_session_id=session["id"],
            payment_intent_id=_intent_id(session),
            **values,
        )
        _check_not_paid_twice(settled, session)
        return settled

    async def _credit(self, purchase: Purchase, session: dict[str, Any]) -> Purchase:
        quantity = quantity_of(session) or purchase.quantity
        credits = purchase.credits_each * quantity
        paid = Money(session["amount_total"], purchase.price.currency)
        grant = GrantBonus(
            account_id=purchase.account_id,
            key=purchase.ledger_key,
            credits=credits,
            kind=GrantKind.BOUGHT,
            reason=f"Bought {credits:,} credits for {paid}",
            reference=purchase.id,
        )
        try:
            receipt = await self._ledger.submit(grant)
        except Refusal as refusal:
            if isinstance(refusal, IdempotencyConflict) and await self._is_credited(purchase):
                # By another session with another order, which is about to end it.
                raise _paid_twice(purchase, session, "credited by another session") from refusal
            # It is paid, and asking the ledger again will not help: somebody has to know.
            return await self._review(purchase, session, f"Paid, but not credited: {refusal.message}")
        credited = await self._settle(
            purchase,
            session,
            PurchaseStatus.CREDITED,
            entry_seq=receipt.entry.seq,
            quantity=quantity,
            credits=credits,
            amount_minor=purchase.minor_each * quantity,
            paid_minor=paid.minor,
            problem=None,
        )
        if not receipt.replayed:
            log.info(
                "purchase_credited",
                purchase_id=purchase.id,
                account_id=purchase.account_id,
                credits=credits,
            )
        return credited

    async def _is_credited(self, purchase: Purchase) -> bool:
        """Whether the entry that carries the purchase's key is its own; an application may have used that key."""
        entry = await self._ledger.entry_by_key(purchase.account_id, purchase.ledger_key)
        return entry is not None and entry.grant is not None and entry.reference == purchase.id


def is_not_coming(session: dict[str, Any]) -> bool:
    """Whether the payment of a completed session, which has to be in it, is waited for in vain (S21)."""
    return (session["payment_intent"] or {}).get("status") in _NOT_COMING


def _intent_id(session: dict[str, Any]) -> str | None:
    intent = session["payment_intent"]
    return None if intent is None else str(intent["id"])


def _recovery_url(session: dict[str, Any]) -> str | None:
    recovery = (session.get("after_expiration") or {}).get("recovery") or {}
    found: str | None = recovery.get("url")
    return found


def _check_not_paid_twice(purchase: Purchase, session: dict[str, Any]) -> None:
    if purchase.checkout_session_id != session["id"] and session["payment_status"] in PAID:
        raise _paid_twice(purchase, session, f"{purchase.status} by session {purchase.checkout_session_id}")


def _paid_twice(purchase: Purchase, session: dict[str, Any], stands: str) -> NeedsOperator:
    log.error("purchase_paid_twice", purchase_id=purchase.id, checkout_session_id=session["id"])
    return NeedsOperator(
        f"Checkout session {session['id']} was paid for purchase {purchase.id}, which is {stands} already. No credits "
        "were granted a second time. Refund it, or grant its credits by hand."
    )


def _check_not_ours(session: dict[str, Any]) -> None:
    claimed = (session.get("metadata") or {}).get("purchase_id")
    if claimed is None or session["payment_status"] not in PAID:
        # Another product on the same Stripe account, or a session of ours that was never shown to anybody.
        log.info("session_not_ours", checkout_session_id=session["id"])
        return
    log.warning("unknown_purchase_paid", purchase_id=claimed, checkout_session_id=session["id"])
    raise NeedsOperator(
        f"Checkout session {session['id']} was paid and names purchase {claimed!r}, which is not known here. "
        "Nothing was credited. Find out what was paid, then grant or refund it by hand."
    )

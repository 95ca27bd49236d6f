"""Giving money back: what it would come to beforehand, and the refund itself as one step that a crash cannot halve.

A refund is written down before Stripe is asked, so that whoever comes next can finish it. What it means for
the credits is `clawbacks`' business, as it is for a refund made in Stripe's dashboard (S23).
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import RowMapping, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.billing.clawbacks import Clawbacks, Payment
from tallystick.billing.errors import (
    NothingToRefund,
    RefundConflict,
    RefundRejected,
    RefundTooLarge,
    StripeRejected,
    UnknownPurchase,
)
from tallystick.billing.purchases import Purchase, Purchases
from tallystick.billing.standings import for_a_refund, of_a_charge
from tallystick.billing.stripe_api import StripeApi
from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import refunds
from tallystick.domain.amounts import Money
from tallystick.domain.commands import require_identifier
from tallystick.domain.errors import InvalidAmount, Unavailable
from tallystick.ledger import Ledger

GRACE = timedelta(seconds=30)
"""How long a refund may be under way before somebody else takes it up."""

# What Stripe answers when it does not make a refund. All else is about our key or our settings, which can be mended.
_REFUSED_FOR_GOOD = (400, 402)

log = structlog.get_logger(__name__)


class RefundStatus(StrEnum):
    """Where a refund stands. One that is done is made at Stripe, on its way or there. A rejected one changed nothing."""

    REQUESTED = "requested"
    DONE = "done"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Refund:
    """One refund of a purchase that was asked for here."""

    id: str
    purchase_id: str
    key: str
    amount: Money
    reason: str
    status: RefundStatus
    stripe_refund_id: str | None
    problem: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RefundQuote:
    """What refunding `amount` of a purchase would come to, as things are now.

    `unspent` of its `credits` are still there, worth `unspent_worth` of what was paid. The refund would take
    `takes` credits back, `debt` of which have been used and would be owed (S23, S24). `refundable` is the
    most that can be refunded. `dispute` is the status of the dispute of it that matters most, or `early_fraud_warning`.
    """

    purchase_id: str
    account_id: str
    credits: int
    unspent: int
    paid: Money
    refunded: Money
    refundable: Money
    unspent_worth: Money
    amount: Money
    takes: int
    debt: int
    dispute: str | None

    @property
    def warning(self) -> str | None:
        """What its dispute means for a refund, and what to do about it."""
        return for_a_refund(self.dispute)


@dataclass(frozen=True, slots=True)
class AfterRefund:
    """How a purchase and its account stand after a refund.

    Of what was paid `refunded` has gone back, and of its `credits` as many as are `taken_back`, by all refunds and
    disputes of it together. `debt` is all that the account owes. `at_stripe` is the refund's status there:
    `pending` while it is on its way. None when Stripe does not say.
    """

    account_id: str
    refunded: Money
    credits: int
    taken_back: int
    debt: int
    at_stripe: str | None


class Refunds:
    """Quotes and makes refunds."""

    def __init__(
        self,
        database: Database,
        api: StripeApi,
        ledger: Ledger,
        purchases: Purchases,
        clawbacks: Clawbacks,
        clock: Clock,
    ) -> None:
        self._database = database
        self._api = api
        self._ledger = ledger
        self._purchases = purchases
        self._clawbacks = clawbacks
        self._clock = clock

    async def quote(self, purchase_id: str, amount: int | None = None) -> RefundQuote:
        """What refunding `amount` minor units (default: all that is left) would come to. Changes nothing.

        Raises UnknownPurchase, NothingToRefund, RefundTooLarge, InvalidAmount, StripeUnavailable.
        """
        purchase = await self._purchases.get(purchase_id)
        if purchase is None:
            raise UnknownPurchase(purchase_id)
        if purchase.payment_intent_id is None:
            raise NothingToRefund(purchase_id)
        payment = await self._clawbacks.look_at(purchase.payment_intent_id)
        left = payment.paid - payment.gone
        if left == 0:
            raise NothingToRefund(purchase_id, _where_it_is(payment))
        wanted = left if amount is None else _require_minor(amount)
        if wanted > left:
            raise RefundTooLarge(str(Money(wanted, payment.currency)), str(Money(left, payment.currency)))
        credits, unspent, taken, within_reach = await self._credits_of(purchase)
        takes = max(0, credits * (payment.gone + wanted) // payment.paid - taken)
        return RefundQuote(
            purchase_id=purchase.id,
            account_id=purchase.account_id,
            credits=credits,
            unspent=unspent,
            paid=Money(payment.paid, payment.currency),
            refunded=Money(payment.refunded, payment.currency),
            refundable=Money(left, payment.currency),
            unspent_worth=Money(min(left, payment.paid * unspent // credits if credits else 0), payment.currency),
            amount=Money(wanted, payment.currency),
            takes=takes,
            debt=max(0, takes - within_reach),
            dispute=payment.standing,
        )

    async def refund(self, purchase_id: str, amount: int | None = None, *, key: str, reason: str = "") -> Refund:
        """Refund `amount` minor units (default: all that is left), once per `key`, and take the credits back.

        Raises what `quote` raises, RefundConflict for a key that was used for another request, RefundRejected
        when Stripe refuses. When Stripe does not answer, StripeUnavailable, and when it refuses for another reason, as
        because of our key, StripeRejected: the refund then stays requested and is completed by itself, and asking again
        with the same key tells how it went.
        """
        require_identifier(key, "idempotency key")
        known = await self._of_key(purchase_id, key)
        if known is None:
            quote = await self.quote(purchase_id, amount)
            known = await self._request(quote, key, reason)
        if known.reason != reason or amount not in (None, known.amount.minor):
            raise RefundConflict(key)
        return await self._carry_out(known) if known.status is RefundStatus.REQUESTED else _told(known)

    async def after(self, refund: Refund) -> AfterRefund:
        """How the purchase of a refund that was made, and its account, stand now."""
        purchase = await self._purchases.get(refund.purchase_id)
        if purchase is None:
            raise LookupError(f"purchase {refund.purchase_id} is gone")
        return AfterRefund(
            account_id=purchase.account_id,
            refunded=purchase.refunded,
            credits=purchase.credits,
            taken_back=purchase.clawed_back,
            debt=(await self._ledger.account(purchase.account_id)).debt,
            at_stripe=await self._status_at_stripe(refund),
        )

    async def of_purchase(self, purchase_id: str) -> list[Refund]:
        """The refunds of a purchase that were asked for here, newest first."""
        return await self._all(refunds.c.purchase_id == purchase_id)

    async def resume(self, *, grace: timedelta = GRACE) -> int:
        """Finish refunds that a crash or an outage left half-way. Returns how many were finished."""
        overdue = await self._all(
            refunds.c.status == RefundStatus.REQUESTED, refunds.c.updated_at <= self._clock() - grace
        )
        finished = 0
        for refund in overdue:
            try:
                await self._carry_out(refund)
            except RefundRejected as error:
                log.warning("refund_rejected", refund_id=refund.id, reason=error.message)
            except (Unavailable, StripeRejected) as error:
                log.warning("refund_postponed", refund_id=refund.id, reason=error.message)
                continue
            finished += 1
        return finished

    async def _status_at_stripe(self, refund: Refund) -> str | None:
        if refund.stripe_refund_id is None:
            return None
        try:
            return str((await self._api.stripe_refund(refund.stripe_refund_id))["status"])
        except (Unavailable, StripeRejected) as error:
            # The refund was made: nobody is to take it for one that was not.
            log.warning("refund_not_seen", refund_id=refund.id, reason=error.message)
            return None

    async def _credits_of(self, purchase: Purchase) -> tuple[int, int, int, int]:
        """What a purchase granted, what is left of that, what was taken back, and what could be taken now."""
        entry = await self._ledger.entry_by_key(purchase.account_id, purchase.ledger_key)
        if entry is None or entry.grant is None:
            return 0, 0, 0, 0
        account = await self._ledger.account(purchase.account_id)
        grant = next((g for g in account.grants if g.id == entry.seq), None)
        taken = account.clawback_of(entry.seq).total
        if grant is None:
            return entry.grant.remaining, 0, taken, 0
        return entry.grant.remaining, grant.remaining, taken, grant.unheld

    async def _request(self, quote: RefundQuote, key: str, reason: str) -> Refund:
        """Write the wish down: from here on it will be fulfilled, or rejected by Stripe."""
        now = self._clock()
        dialect = postgresql if self._database.dialect == "postgresql" else sqlite
        adding = (
            dialect.insert(refunds)
            .values(
                id=f"refund_{uuid.uuid4().hex}",
                purchase_id=quote.purchase_id,
                key=key,
                amount_minor=quote.amount.minor,
                currency=quote.amount.currency,
                reason=reason,
                status=RefundStatus.REQUESTED,
                created_at=now,
                updated_at=now,
            )
            .on_conflict_do_nothing(index_elements=["purchase_id", "key"])
        )
        await self._database.write(lambda connection: connection.execute(adding))
        written = await self._of_key(quote.purchase_id, key)
        if written is None:
            raise LookupError(f"the refund of {quote.purchase_id} was just written")
        return written

    async def _carry_out(self, refund: Refund) -> Refund:
        purchase = await self._purchases.get(refund.purchase_id)
        if purchase is None or purchase.payment_intent_id is None:
            raise LookupError(f"purchase {refund.purchase_id} lost its payment")
        try:
            made = await self._made(refund, purchase.payment_intent_id)
            await self._clawbacks.sync(purchase.payment_intent_id)
        except StripeRejected as error:
            raise _held_up(refund, error) from error
        log.info("refunded", purchase_id=purchase.id, refund_id=refund.id, amount=str(refund.amount))
        return await self._move(refund, RefundStatus.DONE, stripe_refund_id=made["id"], problem=None)

    async def _why(self, rejected: StripeRejected, payment_intent_id: str) -> str:
        """Why Stripe does not make a refund, in words for an operator."""
        if rejected.details.get("stripe_code") != "charge_disputed":
            return rejected.message
        standing = (await self._clawbacks.look_at(payment_intent_id)).standing
        meaning = for_a_refund(standing) or "Look at the payment's disputes in Stripe's dashboard."
        return f"Stripe refused the refund, because the payment is disputed. Nothing was changed. {meaning}"

    async def _made(self, refund: Refund, payment_intent_id: str) -> dict[str, Any]:
        """The refund at Stripe: the one that an earlier try has made, else a new one. Raises RefundRejected.

        Stripe forgets idempotency keys after a day, so the refunds themselves are looked at first.
        """
        for made in await self._api.refunds_of(payment_intent_id):
            if (made.get("metadata") or {}).get("refund_id") == refund.id:
                return made
        params = {
            "payment_intent": payment_intent_id,
            "amount": refund.amount.minor,
            "reason": "requested_by_customer",
            "metadata": {"refund_id": refund.id, "purchase_id": refund.purchase_id},
        }
        try:
            return await self._api.create_refund(params, f"tallystick-{refund.id}")
        except StripeRejected as error:
            if error.details.get("stripe_status") not in _REFUSED_FOR_GOOD:
                raise
            problem = await self._why(error, payment_intent_id)
            await self._move(refund, RefundStatus.REJECTED, problem=problem)
            raise RefundRejected(problem) from error

    async def _move(self, refund: Refund, to: RefundStatus, **values: Any) -> Refund:
        moving = (
            update(refunds)
            .where(refunds.c.id == refund.id, refunds.c.status == RefundStatus.REQUESTED)
            .values(status=to, updated_at=self._clock(), **values)
        )
        await self._database.write(lambda connection: connection.execute(moving))
        (moved,) = await self._all(refunds.c.id == refund.id)
        return moved

    async def _of_key(self, purchase_id: str, key: str) -> Refund | None:
        found = await self._all(refunds.c.purchase_id == purchase_id, refunds.c.key == key)
        return found[0] if found else None

    async def _all(self, *conditions: Any) -> list[Refund]:
        query = select(refunds).where(*conditions).order_by(refunds.c.created_at.desc())
        return await self._database.read(
            lambda connection: [_refund(row) for row in connection.execute(query).mappings()]
        )


def _refund(row: RowMapping) -> Refund:
    return Refund(
        id=row["id"],
        purchase_id=row["purchase_id"],
        key=row["key"],
        amount=Money(row["amount_minor"], row["currency"]),
        reason=row["reason"],
        status=RefundStatus(row["status"]),
        stripe_refund_id=row["stripe_refund_id"],
        problem=row["problem"],
        created_at=row["created_at"],
    )


def _where_it_is(payment: Payment) -> str | None:
    """Where the money of a payment is of which nothing is left to refund, as far as there is more to say."""
    if payment.paid == 0:
        return of_a_charge(payment.charge)
    return for_a_refund(payment.standing) if payment.disputed else None


def _held_up(refund: Refund, error: StripeRejected) -> StripeRejected:
    """For whoever asked for a refund that is not finished because of our key or our settings."""
    said = error.details.get("stripe_code") or error.details.get("stripe_status")
    return StripeRejected(
        f"Stripe refused a request for the refund of {refund.amount} of purchase {refund.purchase_id} ({said}). It may "
        "have been made at Stripe already, and is kept here as requested. Have the key and the settings mended: then it "
        "is finished by itself within a minute, or by asking again with the same key. Another key is another refund.",
        **error.details,
    )


def _told(refund: Refund) -> Refund:
    if refund.status is RefundStatus.REJECTED:
        raise RefundRejected(refund.problem or "")
    return refund


def _require_minor(amount: object) -> int:
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < 1:
        raise InvalidAmount(
            f"The amount of a refund is a whole number of minor units from 1, not {amount!r:.40}. Nothing was refunded.",
            name="amount",
        )
    return amount

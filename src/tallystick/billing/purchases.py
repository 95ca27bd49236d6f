"""Purchases and their table: one checkout of a pack by one account, with its terms frozen (S20)."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, insert, or_, select, update

from tallystick.clock import Clock
from tallystick.database.engine import Database
from tallystick.database.tables import purchases
from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Pack


class PurchaseStatus(StrEnum):
    """Where a purchase stands. `credited` and `needs_review` are never left without an operator."""

    OPEN = "open"
    PENDING = "pending"
    CREDITED = "credited"
    EXPIRED = "expired"
    FAILED = "failed"
    NEEDS_REVIEW = "needs_review"


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase. `credits` and `price` are for all of it; `entry_seq` names the entry that credited it. `paid_minor`
    is what was paid when it was credited, after discount and with tax.

    `refunded_minor` of its price was given back and `clawed_back` of its credits taken back, as we last saw
    it; `dispute` is the status of the dispute that matters most at Stripe, or `early_fraud_warning`.
    Until it is credited the buyer may still choose up to `max_quantity` packs, and a promotion code if
    `promotion_codes` says so. `recovery_url` leads back to a checkout that has expired.
    """

    id: str
    account_id: str
    pack_id: str
    credits: int
    price: Money
    stripe_price: str
    quantity: int
    max_quantity: int
    promotion_codes: bool
    status: PurchaseStatus
    checkout_session_id: str
    checkout_url: str
    recovery_url: str | None
    payment_intent_id: str | None
    paid_minor: int | None
    problem: str | None
    entry_seq: int | None
    refunded_minor: int
    clawed_back: int
    dispute: str | None
    looks: int
    looks_done: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime

    @property
    def is_settled(self) -> bool:
        """True when neither time nor Stripe changes it any more."""
        return self.status not in (PurchaseStatus.OPEN, PurchaseStatus.PENDING)

    @property
    def credits_each(self) -> int:
        """The credits of one pack."""
        return self.credits // self.quantity

    @property
    def minor_each(self) -> int:
        """The price of one pack in minor units, before discount and tax."""
        return self.price.minor // self.quantity

    @property
    def comes_to(self) -> Money:
        """What was paid for it, or its price as long as that is not known."""
        return self.price if self.paid_minor is None else Money(self.paid_minor, self.price.currency)

    @property
    def refunded(self) -> Money:
        """What was given back of it, as we last saw it."""
        return Money(self.refunded_minor, self.price.currency)

    @property
    def ledger_key(self) -> str:
        """The idempotency key under which it is credited: this makes it once (S21)."""
        return f"purchase:{self.id}"


def new_purchase_id() -> str:
    """An id that nobody can guess."""
    return f"pur_{uuid.uuid4().hex}"


_NEWEST_FIRST = select(purchases).order_by(purchases.c.created_at.desc())


class Purchases:
    """The purchases of all accounts."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, id: str, account_id: str, pack: Pack, session: dict[str, Any], expires_at: datetime
    ) -> Purchase:
        """Freeze the terms of `pack` for a checkout session that was just made, not yet shown to anybody."""
        now = self._clock()
        adding = insert(purchases).values(
            id=id,
            account_id=account_id,
            pack_id=pack.id,
            credits=pack.credits,
            amount_minor=pack.price.minor,
            currency=pack.price.currency,
            stripe_price=pack.stripe_price,
            quantity=1,
            max_quantity=pack.max_quantity,
            promotion_codes=pack.promotion_codes,
            status=PurchaseStatus.OPEN,
            checkout_session_id=session["id"],
            checkout_url=session["url"],
            created_at=now,
            updated_at=now,
            expires_at=expires_at,
        )
        await self._database.write(lambda connection: connection.execute(adding))
        return await self._known(id)

    async def get(self, id: str) -> Purchase | None:
        """The purchase of that id."""
        return await self._one(purchases.c.id == id)

    async def of_session(self, checkout_session_id: str) -> Purchase | None:
        """The purchase that a checkout session belongs to."""
        return await self._one(purchases.c.checkout_session_id == checkout_session_id)

    async def of_payment(self, payment_intent_id: str) -> Purchase | None:
        """The purchase that a payment intent paid for, as far as that was seen."""
        return await self._one(purchases.c.payment_intent_id == payment_intent_id)

    async def begin_look(self, purchase: Purchase) -> Purchase:
        """Number a look at the purchase's payment, before Stripe is asked: later ones have a higher `looks`."""
        numbering = (
            update(purchases)
            .where(purchases.c.id == purchase.id)
            .values(looks=purchases.c.looks + 1)
            .returning(*purchases.c)
        )
        return await self._database.write(
            lambda connection: _purchase(connection.execute(numbering).mappings().one())
        )

    async def finish_look(self, purchase: Purchase, **seen: Any) -> Purchase:
        """Keep what the look that `begin_look` returned has seen, unless a later one is finished already."""
        later = (purchases.c.id == purchase.id) & (purchases.c.looks_done < purchase.looks)
        keeping = update(purchases).where(later).values(looks_done=purchase.looks, **seen)
        await self._database.write(lambda connection: connection.execute(keeping))
        return await self._known(purchase.id)

    async def disputed(self, limit: int) -> list[Purchase]:
        """Purchases with a dispute or a warning, newest first."""
        return await self._all(purchases.c.dispute.is_not(None), limit=limit)

    async def still_open(self, account_id: str, pack: Pack, after: datetime) -> Purchase | None:
        """An open purchase of the same pack on the same terms whose checkout lives on after `after`."""
        found = await self._all(
            purchases.c.account_id == account_id,
            purchases.c.pack_id == pack.id,
            purchases.c.status == PurchaseStatus.OPEN,
            purchases.c.expires_at > after,
            purchases.c.stripe_price == pack.stripe_price,
            purchases.c.credits == pack.credits,
            purchases.c.amount_minor == pack.price.minor,
            purchases.c.currency == pack.price.currency,
            purchases.c.max_quantity == pack.max_quantity,
            purchases.c.promotion_codes == pack.promotion_codes,
        )
        return found[0] if found else None

    async def latest(
        self, limit: int, status: PurchaseStatus | None = None, account_id: str | None = None
    ) -> list[Purchase]:
        """Purchases, newest first: of all accounts and in any status, or of those that are given."""
        sought = ((purchases.c.status, status), (purchases.c.account_id, account_id))
        return await self._all(*(column == value for column, value in sought if value is not None), limit=limit)

    async def created_since(
        self, since: datetime, after: str | None, limit: int, *, also: Iterable[str] = ()
    ) -> list[Purchase]:
        """Purchases begun at `since` or later, in the order of their ids, after the id `after` if it is given.

        With them come those that are named in `also`, by their own ids or by those of their sessions.
        """
        named = list(also)
        wanted = or_(
            purchases.c.created_at >= since, purchases.c.id.in_(named), purchases.c.checkout_session_id.in_(named)
        )
        query = select(purchases).where(wanted, purchases.c.id > (after or "")).order_by(purchases.c.id).limit(limit)
        return await self._database.read(
            lambda connection: [_purchase(row) for row in connection.execute(query).mappings()]
        )

    async def move(
        self, purchase: Purchase, to: PurchaseStatus, *, leaving: Iterable[PurchaseStatus], **values: Any
    ) -> Purchase:
        """Set the status if it still is one of `leaving`; returns the purchase as this has left it, or as it is."""
        moving = (
            update(purchases)
            .where(purchases.c.id == purchase.id, purchases.c.status.in_(list(leaving)))
            .values(status=to, updated_at=self._clock(), **values)
            # Read later it might be as another session has left it meanwhile, and this one would take itself for late.
            .returning(*purchases.c)
        )
        moved = await self._database.write(lambda connection: connection.execute(moving).mappings().one_or_none())
        return await self._known(purchase.id) if moved is None else _purchase(moved)

    async def _known(self, id: str) -> Purchase:
        found = await self.get(id)
        if found is None:
            raise LookupError(f"purchase {id} is gone")
        return found

    async def take_up(
        self, purchase: Purchase, session: dict[str, Any], *, leaving: Iterable[PurchaseStatus]
    ) -> Purchase:
        """Let a completed session take the place of the one that the purchase had, as `move` does."""
        return await self.move(
            purchase, PurchaseStatus.OPEN, leaving=leaving, checkout_session_id=session["id"], recovery_url=None
        )

    async def _one(self, condition: Any) -> Purchase | None:
        found = await self._all(condition, limit=1)
        return found[0] if found else None

    async def _all(self, *conditions: Any, limit: int = 1) -> list[Purchase]:
        query = _NEWEST_FIRST.where(*conditions).limit(limit)
        return await self._database.read(
            lambda connection: [_purchase(row) for row in connection.execute(query).mappings()]
        )


def _purchase(row: RowMapping) -> Purchase:
    values = dict(row)
    price = Money(values.pop("amount_minor"), values.pop("currency"))
    return Purchase(price=price, **{**values, "status": PurchaseStatus(values["status"])})

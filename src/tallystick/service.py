"""What a host application holds in its hand: one object that ties ledger and billing together.

Used in three ways, all the same code: run as a service, mounted in a FastAPI application, or called as
a library. Knows nothing of HTTP; `router` fetches the web room only when it is asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from tallystick.api_keys import ApiKeys
from tallystick.balance import Balance, Spent, balance_of
from tallystick.billing import Billing, Refund, RefundQuote
from tallystick.clock import Clock, system_clock
from tallystick.config import CANCEL_PATH, SUCCESS_PATH, environment, load_stripe_settings
from tallystick.database.engine import Database
from tallystick.database.schema import create_if_empty, require_current
from tallystick.domain.account import Entry, GrantKind
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.commands import (
    HOLD_SECONDS,
    GrantBonus,
    OpenAccount,
    Remove,
    Reverse,
    SetPlan,
    Spend,
    require_reason,
)
from tallystick.domain.errors import AccountExists, IdempotencyConflict, TallystickError, UnknownAccount
from tallystick.domain.explain import Explanation
from tallystick.domain.periods import require_instant
from tallystick.holding import Holding
from tallystick.ledger import Ledger
from tallystick.ledger.memory import REMEMBERED, require_remembered
from tallystick.periodically import periodically

if TYPE_CHECKING:
    from fastapi import APIRouter

SWEEP_SECONDS = 60
"""How often accounts that nobody touches are settled. Balances do not depend on it (S14)."""


class BillingNotConfigured(TallystickError):
    """Something that needs Stripe was asked of an installation without a Stripe key."""

    code = "billing_not_configured"

    def __init__(self) -> None:
        super().__init__(
            "Payments are not set up here: there is no Stripe key. Nothing was changed. "
            "Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET, or give them to Tallystick()."
        )


class NotOpen(TallystickError):
    """Tallystick was used before it was opened, or after it was closed."""

    code = "not_open"

    def __init__(
        self,
        message: str = "Tallystick is not open: it was not opened yet, or it is closed. Nothing was changed. Open it "
        "first: `async with credits:`, `with credits:` without await, or FastAPI(lifespan=credits.lifespan).",
    ) -> None:
        super().__init__(message)


class Tallystick:
    """The credits layer of one application.

    `plans` and `packs` are the catalogue; the first plan is where every account starts. What is not
    given of Stripe is read from STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET, STRIPE_API_BASE and BASE_URL.
    Without a Stripe key everything but buying works. Buyers come back to `success_path` (with
    `session_id`) or `cancel_path` of `base_url`. The ledger remembers `remembered_accounts`, those that were used last,
    at about a kilobyte each. Raises ConfigurationError, and InvalidInput for what is no such number.
    """

    def __init__(
        self,
        database_url: str = "sqlite:///tallystick.db",
        *,
        plans: Iterable[Plan],
        packs: Iterable[Pack] = (),
        stripe_secret_key: str | None = None,
        stripe_webhook_secrets: Iterable[str] | None = None,
        stripe_api_base: str | None = None,
        base_url: str | None = None,
        success_path: str = SUCCESS_PATH,
        cancel_path: str = CANCEL_PATH,
        clock: Clock = system_clock,
        remembered_accounts: int = REMEMBERED,
    ) -> None:
        self.database_url = database_url
        self.catalogue = Catalogue(plans, packs)
        self.clock = clock
        self.remembered_accounts = require_remembered(remembered_accounts)
        self.stripe = load_stripe_settings(
            environment(),
            secret_key=stripe_secret_key,
            webhook_secrets=None if stripe_webhook_secrets is None else tuple(stripe_webhook_secrets),
            api_base=stripe_api_base,
            base_url=base_url,
            success_path=success_path,
            cancel_path=cancel_path,
        )
        self._open: _Open | None = None
        self._changing: asyncio.Event | None = None

    # Opening and closing

    async def open(self) -> None:
        """Connect, create the schema in an empty database, and start the work in the background.

        Nothing happens when it is open. While somebody else opens or closes it, this waits for them first. Raises
        SchemaOutOfDate when the database is older than this version of Tallystick.
        """
        async with self._one_at_a_time():
            if self._open is not None:
                return
            await create_if_empty(self.database_url)
            await require_current(self.database_url)
            self._open = await _Open.start(self)

    async def close(self) -> None:
        """Finish what is under way and disconnect. Every acknowledged command is already safe."""
        async with self._one_at_a_time():
            opened, self._open = self._open, None
            if opened is not None:
                await opened.stop()

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        # Not one lock for good: that would stay with the event loop that waited for it first.
        while self._changing is not None:
            await self._changing.wait()
        self._changing = changed = asyncio.Event()
        try:
            yield
        finally:
            self._changing = None
            changed.set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """The lifespan of an ASGI application that mounts Tallystick."""
        async with self:
            yield

    def router(self, *, current_user: Callable[..., Any]) -> "APIRouter":
        """The HTTP routes a host application mounts.

        `current_user` is a FastAPI dependency that returns the account id of who is signed in, or None.
        """
        # The one import upwards, and only when it is asked for: the library needs no web server.
        from tallystick.web.router import make_router

        return make_router(self, current_user)

    # What it is made of

    @property
    def database(self) -> Database:
        """The tables that are not the ledger's."""
        return self._opened.database

    @property
    def ledger(self) -> Ledger:
        """The one door to an account."""
        return self._opened.ledger

    @property
    def api_keys(self) -> ApiKeys:
        """The secret keys of back ends that use the HTTP API."""
        return self._opened.api_keys

    @property
    def billing(self) -> Billing:
        """Everything that has to do with Stripe. Raises BillingNotConfigured without a Stripe key."""
        billing = self._opened.billing
        if billing is None:
            raise BillingNotConfigured
        return billing

    @property
    def _opened(self) -> "_Open":
        if self._open is None:
            raise NotOpen
        return self._open

    # Credits

    async def open_account(self, account_id: str, plan: str | None = None) -> Balance:
        """Open an account on `plan` (default: the first), or leave it as it is when it is already open."""
        with suppress(UnknownAccount):
            return await self.balance(account_id)
        wanted = plan or self.catalogue.first_plan.name
        # Somebody else opened it in the meantime: it stays as it is.
        with suppress(AccountExists, IdempotencyConflict):
            await self.ledger.submit(OpenAccount(account_id=account_id, plan=wanted))
        return await self.balance(account_id)

    async def balance(self, account_id: str) -> Balance:
        """What the account has now. Raises UnknownAccount."""
        return balance_of(await self.ledger.account(account_id), self.catalogue, self.clock())

    async def spend(self, account_id: str, amount: int, *, key: str, operation: str = "") -> Spent:
        """Consume `amount` credits, monthly ones first (S10), once per `key` (S7).

        Raises InvalidAmount, UnknownAccount, InsufficientCredits, IdempotencyConflict; each changes nothing.
        """
        receipt = await self.ledger.submit(Spend(account_id=account_id, key=key, amount=amount, operation=operation))
        entry = receipt.entry
        return Spent(
            seq=entry.seq,
            amount=amount,
            monthly=entry.from_monthly,
            bonus=entry.from_bonus,
            available=entry.available,
            replayed=receipt.replayed,
        )

    async def grant(
        self,
        account_id: str,
        credits: int,
        *,
        key: str,
        kind: GrantKind = GrantKind.ADJUSTED,
        effective_at: datetime | None = None,
        expires_at: datetime | None = None,
        reason: str = "",
    ) -> Balance:
        """Add bonus credits, once per `key` (S7). Returns the balance after it."""
        await self.ledger.submit(
            GrantBonus(
                account_id=account_id,
                key=key,
                credits=credits,
                kind=kind,
                effective_at=effective_at,
                expires_at=expires_at,
                reason=reason,
            )
        )
        return await self.balance(account_id)

    async def set_plan(self, account_id: str, plan: str, *, key: str, reason: str = "") -> Balance:
        """Put the account on `plan` now. Bonus credits stay (S18). Returns the balance after it."""
        await self.ledger.submit(SetPlan(account_id=account_id, key=key, plan=plan, reason=reason))
        return await self.balance(account_id)

    async def entries(self, account_id: str, *, before: int | None = None, limit: int = 50) -> list[Entry]:
        """The account's entries, newest first; `before` is the number of the last one seen."""
        return await self.ledger.entries(account_id, before=before, limit=limit)

    def hold(
        self,
        account_id: str,
        amount: int,
        *,
        operation: str = "",
        seconds: int = HOLD_SECONDS,
        key: str | None = None,
    ) -> Holding:
        """Set `amount` credits aside while an `async with` block works; see Holding (S12)."""
        return Holding(self.ledger, account_id, amount, operation=operation, seconds=seconds, key=key)

    async def reverse(self, account_id: str, seq: int, *, key: str, reason: str = "") -> Entry:
        """Return what the spend or capture number `seq` took, to the very grants it came from (S13).

        The entry says in `lots` what came back, in `lapsed` what did not because its grant is over. Raises
        UnknownEntry, NotReversible, AlreadyReversed.
        """
        command = Reverse(account_id=account_id, key=key, entry=seq, reason=reason)
        return (await self.ledger.submit(command)).entry

    async def adjust(self, account_id: str, credits: int, *, key: str, reason: str) -> Balance:
        """Correct an account by hand: add bonus credits, or take some away when `credits` is negative.

        Returns the balance after it. Raises InvalidInput without a `reason`, and InsufficientCredits when less is
        available than is to go.
        """
        require_reason(reason)
        if isinstance(credits, int) and credits < 0:
            await self.ledger.submit(Remove(account_id=account_id, key=key, amount=-credits, reason=reason))
            return await self.balance(account_id)
        return await self.grant(account_id, credits, key=key, reason=reason)

    async def balance_at(self, account_id: str, instant: datetime) -> Entry | None:
        """The entry whose balances were true at `instant`, or None when the account was not open yet.

        What time did by itself counts from its exact moment, also when it was not written down yet (S14), or never is,
        because a later period has taken the place of that one: then no entry of the ledger has that number, or another
        one. At an instant to come the account is as it is now.
        """
        return await self.ledger.entry_at(account_id, require_instant(instant, "instant"))

    async def explain(self, account_id: str, seq: int) -> Explanation:
        """Why entry number `seq` says what it says: which rule, which grants, where they came from."""
        return await self.ledger.explain(account_id, seq)

    async def quote_refund(self, purchase_id: str, amount: int | None = None) -> RefundQuote:
        """What refunding `amount` minor units of a purchase (default: all that is left) would come to (S23).

        Changes nothing. Raises UnknownPurchase, NothingToRefund, RefundTooLarge.
        """
        return await self.billing.quote_refund(purchase_id, amount)

    async def refund(self, purchase_id: str, amount: int | None = None, *, key: str, reason: str = "") -> Refund:
        """Refund `amount` minor units of a purchase (default: all that is left), once per `key` (S7).

        The money goes back at Stripe and the credits are taken back here, as one step: what a crash leaves
        half-way is finished by itself. Raises what `quote_refund` raises, RefundRejected, StripeUnavailable, and
        StripeRejected when our key or our settings hold it up.
        """
        return await self.billing.refund(purchase_id, amount, key=key, reason=reason)


@dataclass(slots=True)
class _Open:
    """What exists between open and close."""

    database: Database
    ledger: Ledger
    api_keys: ApiKeys
    billing: Billing | None
    stopping: asyncio.Event
    tasks: tuple[asyncio.Task[None], ...]

    @classmethod
    async def start(cls, credits: Tallystick) -> "_Open":
        database = Database.connect(credits.database_url)
        ledger = await Ledger.open(
            credits.database_url,
            credits.catalogue,
            credits.clock,
            database.turns,
            remembered=credits.remembered_accounts,
        )
        stopping = asyncio.Event()
        sweeping = periodically("sweep", ledger.sweep, SWEEP_SECONDS, stopping)
        tasks = [asyncio.create_task(sweeping, name="tallystick sweep")]
        billing = None
        if credits.stripe is not None:
            billing = Billing(credits.stripe, database, ledger, credits.catalogue, credits.clock)
            tasks.append(asyncio.create_task(billing.run(stopping), name="tallystick billing"))
        return cls(database, ledger, ApiKeys(database, credits.clock), billing, stopping, tuple(tasks))

    async def stop(self) -> None:
        self.stopping.set()
        await asyncio.gather(*self.tasks)
        if self.billing is not None:
            await self.billing.close()
        await self.ledger.close()
        await self.database.close()

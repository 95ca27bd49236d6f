"""Some weeks of business: customers who subscribe, renew, change, fail to pay, cancel, buy, spend, ask for their money
and dispute. What they do is chosen by a seed and by what Stripe has of them, never by what we have heard.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2

from stripe_sandbox import Sandbox, SandboxServer, agenda
from tallystick.domain.commands import Spend
from tests.billing.conftest import Shop, make_shop
from tests.billing.lifecycle import T0, seed_prices
from tests.billing.lives import CATALOGUE, Life, Teller, begin
from tests.billing.membership import Membership, months_after

DAYS = 40
"""Longer than a month, so that everybody renews."""

Act = tuple[Any, ...]
Story = tuple[tuple[int, int, Act], ...]

STORIES: tuple[Story, ...] = (
    ((0, 5, ("plus",)),),
    ((0, 5, ("plus",)), (6, 20, ("upgrade", "at once")), (35, 39, ("downgrade",))),
    ((0, 5, ("plus",)), (6, 25, ("upgrade", "if it is paid")), (26, 28, ("cancel at the end",))),
    ((0, 5, ("pro",)), (6, 25, ("downgrade",))),
    ((0, 5, ("pro",)), (6, 15, ("downgrade",)), (34, 39, ("upgrade", "if it is paid"))),
    ((0, 5, ("plus",)), (6, 20, ("cancel",)), (21, 39, ("pro",))),
    ((0, 5, ("pro",)), (6, 39, ("cancel",))),
    ((0, 5, ("plus",)), (6, 20, ("cancel at the end",)), (21, 27, ("go on",))),
    ((0, 5, ("plus",)), (6, 20, ("cancel at the end",)), (36, 39, ("pro",))),
    ((0, 5, ("plus",)), (6, 25, ("the card breaks",))),
    ((0, 5, ("plus",)), (6, 25, ("the card breaks",)), (35, 39, ("what is due is paid",))),
    ((0, 5, ("pro",)), (6, 25, ("the card breaks",)), (26, 27, ("the card is mended",))),
    (
        (0, 5, ("plus",)),
        (6, 9, ("the card breaks",)),
        (10, 12, ("upgrade", "at once")),
        (13, 15, ("the card is mended",)),
    ),
    ((0, 5, ("plus",)), (6, 20, ("pause",)), (21, 39, ("resume",))),
    ((0, 5, ("a year",)), (6, 30, ("upgrade", "at once"))),
    ((0, 5, ("plus",)), (6, 39, ("to the year",))),
)
"""What subscribers do, each at some time from a day to a day; besides, they buy packs and spend monthly credits."""

BUYERS = 6
"""How many never subscribe. They buy packs and spend them."""

PAYMENTS = (
    "buy",
    "buy",
    "buy",
    "buy by bank",
    "buy by bank",
    "give up",
    "come back",
    "refund",
    "refund",
    "refund fails",
    "dispute",
    "dispute",
    "dispute ends",
)
FOLLOWS = {"buy by bank": ("bank",), "refund": ("refund", "refund fails", "dispute"), "dispute": ("dispute ends",)}
"""What often comes next: by chance it would seldom find what it is about."""

OFTEN = 0.3
"""How probable it is that a customer does something with a pack on a day."""


class Customer:
    """One customer of the shop, with a life of what happens at Stripe."""

    def __init__(self, life: Life, shop: Shop, chance: random.Random, story: Story) -> None:
        self.life = life
        self._shop = shop
        self._chance = chance
        self._subscribes = bool(story)
        self._coming = {chance.randint(first, last): act for first, last, act in story}
        self._spent = 0
        self._first_month_ends: datetime | None = None
        self._only_by_card = True
        self._did = ""
        self._money_was_taken_back = False

    async def live(self, day: int) -> None:
        """What the customer does on a day."""
        await self._spend(day, self._chance.randint(1, 40))
        if day in self._coming:
            await self.life.act(day, "subscription", *self._coming[day])
            self._first_month_ends = self._first_month_ends or self.life.membership.resets_at
        if self._chance.random() < OFTEN:
            follows = FOLLOWS.get(self._did, PAYMENTS)
            await self._pack(day, self._chance.choice(PAYMENTS if self._chance.random() < 0.3 else follows))

    async def _pack(self, day: int, what: str) -> None:
        options: dict[str, Act] = {
            # Whoever pays comes back, or closes the window.
            "buy": (self._chance.random() < 0.5 or not self._subscribes,),
            "buy by bank": (self._chance.random() < 0.5,),
            "bank": (self._chance.random() < 0.7,),
            "refund": (self._chance.choice((599, 300, 150, 1)),),
            "dispute": (self._chance.choice(("chargeback", "inquiry")),),
            "dispute ends": (self._chance.random() < 0.5,),
        }
        buys = what in ("buy", "buy by bank")
        # Debt is paid off with what is bought next (S24), so it would matter what is heard first.
        if self._subscribes or not (self._money_was_taken_back and buys):
            await self.life.act(day, what, *options.get(what, ()))
            self._did = what
            self._only_by_card &= what != "buy by bank"
        self._money_was_taken_back |= any(bought.refunded or bought.dispute for bought in self.life.bought)

    async def _spend(self, day: int, amount: int) -> None:
        """Of what is there whatever was not heard: where it were not, other credits would be drawn from."""
        now = self._shop.clock()
        if self._subscribes:
            # The first month's, which two events tell of. Of what comes with the next, or with a change, one may.
            ends = self._first_month_ends
            there = 300 if ends is not None and now < ends == self.life.membership.resets_at else 0
        else:
            # What was paid by card, which the buyer came back from, while nothing of it was taken back.
            is_sure = self._only_by_card and not self._money_was_taken_back
            there = 200 * len(self.life.bought) if is_sure and now < months_after(T0, 1) else 0
        if self._spent + amount <= there:
            await self._shop.ledger.submit(Spend(account_id=self.life.name, key=f"day{day}", amount=amount))
            self._spent += amount


@dataclass(frozen=True)
class State:
    """All that we keep of one account, without ids and when it was heard."""

    balances: tuple[str, int, int, int, int]
    allowance: Any
    grants: tuple[Any, ...]
    scheduled: tuple[Any, ...]
    clawbacks: tuple[Any, ...]
    purchases: tuple[Any, ...]
    subscriptions: tuple[Any, ...]


async def state_of(shop: Shop, account_id: str) -> State:
    account = await shop.ledger.account(account_id)
    allowance = account.allowance
    return State(
        balances=(account.plan, account.monthly, account.bonus, account.frozen, account.debt),
        allowance=allowance and (allowance.plan, allowance.period, allowance.credits, allowance.paid),
        grants=_sorted((g.kind, g.remaining, g.expires_at, g.frozen) for g in account.grants),
        scheduled=_sorted((s.grant.kind, s.grant.remaining, s.grant.expires_at) for s in account.scheduled),
        clawbacks=_sorted((c.total, c.owed, c.frozen) for c in account.clawbacks if c.total or c.frozen),
        purchases=tuple(
            (
                p.created_at,
                p.status,
                p.credits,
                p.price,
                p.paid_minor,
                p.problem,
                p.refunded_minor,
                p.clawed_back,
                p.dispute,
            )
            for p in await shop.billing.purchases(account_id, limit=100)
        ),
        subscriptions=_sorted(
            tuple(value for name, value in asdict(kept).items() if name not in ("id", "stripe_customer_id"))
            for kept in await shop.billing._subscriptions._table.of_account(account_id)
        ),
    )


def _sorted(rows: Any) -> tuple[Any, ...]:
    return tuple(sorted(rows, key=repr))


class Business:
    """A shop, its customers, and what happens at Stripe for some weeks. With `drop` every 7th webhook is lost."""

    def __init__(self, shop: Shop, customers: list[Customer], *, drop: bool) -> None:
        self.shop = shop
        self.customers = customers
        self.told: list[str] = []
        """The types of the events that Stripe told of, those that were lost too."""
        self._drop = drop
        self._teller = Teller(shop.sandbox)

    async def go_on(self) -> None:
        """All of it, day by day."""
        for day in range(DAYS):
            for customer in self.customers:
                await customer.live(day)
            await self._hear()
            self.shop.sandbox.advance(86_400)
            agenda.run_due(self.shop.sandbox)
            await self._hear()
            for customer in self.customers:
                customer.life.membership.pass_to(self.shop.clock())

    async def states(self) -> dict[str, State]:
        """Every account as it is now."""
        await self.shop.ledger.sweep()
        return {c.life.name: await state_of(self.shop, c.life.name) for c in self.customers}

    async def _hear(self) -> None:
        for event in self._teller.new():
            self.told.append(event["type"])
            if not (self._drop and len(self.told) % 7 == 0):
                await self.shop.deliver([event])


@asynccontextmanager
async def open_business(database: str, seed: int, *, drop: bool) -> AsyncIterator[Business]:
    """A business that begins at T0. Its time stands still unless it is moved."""
    async with SandboxServer(Sandbox()) as server, httpx2.AsyncClient() as browser:
        sandbox = server.sandbox
        seed_prices(sandbox)

        def clock() -> datetime:
            return datetime.fromtimestamp(sandbox.now(), UTC)

        async with make_shop(database, CATALOGUE, server, clock) as shop:
            stories = [*STORIES, *([()] * BUYERS)]
            lives = [Life(f"customer{n}", shop, shop, browser, Membership(T0, "cancel")) for n in range(len(stories))]
            await begin(shop, lives)
            chance = random.Random(seed)
            customers = [Customer(life, shop, chance, story) for life, story in zip(lives, stories, strict=True)]
            yield Business(shop, customers, drop=drop)

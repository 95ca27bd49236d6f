"""Two worlds that hear of the same lives at Stripe: in one every event comes at once and in its order; in the other some
time, up to three times, at several processes, and some of them months later.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import httpx2

from stripe_sandbox import Sandbox, SandboxServer, agenda
from stripe_sandbox.billing import settings as billing_settings
from tallystick.billing import PurchaseStatus
from tallystick.billing.differences import of_subscription
from tallystick.clock import Clock
from tallystick.domain.account import Account
from tests.billing.conftest import Shop, make_shop
from tests.billing.lifecycle import T0, seed_prices
from tests.billing.lives import CATALOGUE, Life, Teller, begin
from tests.billing.membership import Membership, months_after

FIRST_MONTH_ENDS = months_after(T0, 1)
PAUSES = (0, 0, 1, 3, 9, 30, 45)
"""How many days pass between two rounds: most are less than a period."""

Act = tuple[Any, ...]
Event = dict[str, Any]


class Process(Protocol):
    """One of those at which the events of the late world arrive."""

    async def take(self, events: Sequence[Event]) -> None: ...

    async def work(self) -> None: ...


Processes = Callable[[str, SandboxServer, Clock], AbstractAsyncContextManager[Sequence[Process]]]


class LateWorld:
    """Processes on one database, at which every event comes some time, once to three times."""

    def __init__(self, processes: Sequence[Process], chance: random.Random) -> None:
        self._processes = processes
        self._chance = chance
        self._waiting: list[Event] = []

    async def hear(self, events: Iterable[Event], *, at_last: bool = False) -> None:
        """Some of what has happened; the rest comes later, or now when it is `at_last`."""
        for event in events:
            self._waiting += [event] * self._chance.choice((1, 1, 1, 1, 2, 3))
        self._chance.shuffle(self._waiting)
        count = len(self._waiting) if at_last else self._chance.randint(0, len(self._waiting)) // 2
        now, self._waiting = self._waiting[:count], self._waiting[count:]
        several = len(self._processes)
        await asyncio.gather(*(process.take(now[n::several]) for n, process in enumerate(self._processes)))
        await asyncio.gather(*(process.work() for process in self._processes))


@dataclass(frozen=True)
class InThisProcess:
    """A shop of its own, though in this process."""

    shop: Shop

    async def take(self, events: Sequence[Event]) -> None:
        await self.shop.receive_all(events)

    async def work(self) -> None:
        while await self.shop.billing.work_inbox():
            pass


@asynccontextmanager
async def two_in_this_process(url: str, server: SandboxServer, clock: Clock) -> AsyncIterator[Sequence[Process]]:
    """Two shops on one database, which share nothing else."""
    async with make_shop(url, CATALOGUE, server, clock) as first, make_shop(url, CATALOGUE, server, clock) as second:
        yield InThisProcess(first), InThisProcess(second)


async def live(
    told: Sequence[Sequence[Act]], rounds: int, urls: tuple[str, str], processes: Processes, chance: random.Random
) -> None:
    """The lives of some customers at once, who share nothing but the time; `urls` are the databases of the two worlds."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(SandboxServer(Sandbox()))
        sandbox = server.sandbox
        seed_prices(sandbox)
        ends_as = chance.choice(("cancel", "unpaid"))
        billing_settings.change(sandbox, upcoming_days=0, after_retries=ends_as)

        def clock() -> datetime:
            return datetime.fromtimestamp(sandbox.now(), UTC)

        at_once, late = [await stack.enter_async_context(make_shop(url, CATALOGUE, server, clock)) for url in urls]
        browser = await stack.enter_async_context(httpx2.AsyncClient())
        everybody = [Life(f"customer{n}", at_once, late, browser, Membership(T0, ends_as)) for n in range(len(told))]
        for shop in (at_once, late):
            await begin(shop, everybody)
        running = await stack.enter_async_context(processes(urls[1], server, clock))
        late_world, teller = LateWorld(running, chance), Teller(sandbox)

        async def pass_days(days: int) -> list[dict[str, Any]]:
            """What happens meanwhile, of which one world hears each day."""
            happened: list[dict[str, Any]] = []
            for _ in range(days):
                sandbox.advance(86_400)
                agenda.run_due(sandbox)
                new = teller.new()
                if new:
                    await at_once.deliver(new)
                    happened += new
            for life in everybody:
                life.membership.pass_to(clock())
            return happened

        for n in range(rounds):
            for life, acts in zip(everybody, told, strict=True):
                if n < len(acts):
                    await life.act(n, *acts[n])
            heard = teller.new()
            await at_once.deliver(heard)
            heard += await pass_days(chance.choice(PAUSES))
            await late_world.hear(heard)
        # What FREE opens when a trial is over within its own first month is not opened where all of that is heard later
        # (docs/decisions/0004).
        rest_of_month = await pass_days(max(0, (FIRST_MONTH_ENDS - clock()).days))
        await late_world.hear(rest_of_month, at_last=True)
        for life in everybody:
            await hold(life, at_once, late)
        await at_once.assert_proven()
        await late.assert_proven()


async def hold(life: Life, at_once: Shop, late: Shop) -> None:
    """Both worlds ended alike, and as the model of that life says."""
    model = life.membership
    ends = [await shop.ledger.account(life.name) for shop in (at_once, late)]
    for end in ends:
        assert (end.plan, end.monthly) == (model.plan, model.monthly), life.acts
        assert end.bonus - end.debt == life.credits(), life.acts
        if model.resets_at is not None:
            assert end.resets_at(model.now) == model.resets_at, life.acts
    first, second = ends
    if first.debt == second.debt == 0:
        assert (first.bonus, first.frozen) == (second.bonus, second.frozen)
    assert taken(first) == taken(second)
    shown = [await shop.billing.subscription(life.name) for shop in (at_once, late)]
    assert shown[0] == shown[1]
    coming = None if shown[0] is None else shown[0].next_plan
    assert coming == ((model.running and model.running.becomes) or None), life.acts
    for shop in (at_once, late):
        for kept in await shop.billing._table.of_account(life.name):
            standing = await shop.billing._subscriptions.standing(kept.id)
            assert standing is None or of_subscription(standing) is None, life.acts
        statuses = {purchase.id: purchase.status for purchase in await shop.billing.purchases(life.name)}
        for bought in life.bought:
            assert (statuses[bought.purchase_id] is PurchaseStatus.CREDITED) is bought.paid


def taken(account: Account) -> set[int]:
    return {clawback.total for clawback in account.clawbacks if clawback.total}

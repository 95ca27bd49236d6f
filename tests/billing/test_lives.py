"""S27: order never matters. Random lives of customers at Stripe, of which two worlds hear. In one every event comes
at once and in its order. In the other the same events come shuffled, up to three times, at two processes at once,
and some of them months later. Both end alike, and as a plain model says.

TALLYSTICK_LIVES multiplies how many there are, and makes them longer.
"""

import asyncio
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from stripe_sandbox import Sandbox, SandboxServer, agenda
from stripe_sandbox.billing import settings as billing_settings
from tallystick.billing import PurchaseStatus
from tallystick.billing.billing import HANDLED_EVENTS
from tallystick.database.tables import customers
from tallystick.domain.account import Account
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.commands import OpenAccount, Spend
from tests.billing.conftest import Shop, make_shop
from tests.billing.lifecycle import PLUS_YEAR, PRO, PRO_YEAR, T0, seed_prices
from tests.billing.lives import HOW, Life
from tests.billing.membership import Membership, months_after
from tests.conftest import PACK_PRICE, PLUS_PRICE

CUSTOMERS = 15
TIMES = int(os.environ.get("TALLYSTICK_LIVES", "1"))
EXAMPLES = 20 * TIMES
ROUNDS = 5 if TIMES == 1 else 8
CATALOGUE = Catalogue(
    [
        # Whoever may buy says the plan, which the two worlds hear of at different times.
        Plan("free", 25, can_buy=True),
        Plan("plus", 500, can_buy=True, stripe_price=PLUS_PRICE, stripe_price_yearly=PLUS_YEAR),
        Plan("pro", 2_000, can_buy=True, stripe_price=PRO, stripe_price_yearly=PRO_YEAR),
    ],
    [Pack("credits_200", credits=200, price="5.99 USD", stripe_price=PACK_PRICE)],
)

BEGINS = ("plus", "pro", "a year", "a year", "a trial", "a year on trial", "a trial without a card")
CHANGES = (
    "upgrade",
    "upgrade",
    "downgrade",
    "to the year",
    "cancel",
    "cancel at the end",
    "its billing is paused",
    "pause",
)
CARD = ("the card breaks", "the card breaks", "the card is mended", "what is due is paid")
MONEY = ("its money comes back", "its bank disputes")
FOLLOWS = {
    "plus": ("upgrade", "pause", "its billing is paused", "the card breaks", "the card breaks"),
    "a year": ("upgrade", "the card breaks", "pause", "its billing is paused"),
    "a trial without a card": ("the card is mended", "the card is mended", "the card breaks", "cancel", "go on"),
    "a trial": ("the card breaks", "cancel", "cancel at the end"),
    "the card breaks": ("upgrade", "upgrade", "what is due is paid", "the card is mended"),
    "upgrade": ("what is due is paid", "downgrade"),
    "cancel at the end": ("go on",),
    "its billing is paused": ("its billing goes on", "upgrade"),
    "pause": ("resume", "resume", "resume", "cancel"),
    "resume": ("upgrade", "pause", "cancel"),
}
"""What often comes next: by chance it would seldom find what it is about."""

SELDOM = (
    (("plus",), ("pause",), ("resume",), ("upgrade", "at once"), ("cancel",)),
    (("plus",), ("pause",), ("resume",), ("pause",), ("resume",)),
    (("plus",), ("the card breaks",), ("upgrade", "at once"), ("what is due is paid",)),
    (("plus",), ("the card breaks",), ("upgrade", "when it is paid"), ("what is due is paid",)),
    (("a year",), ("the card breaks",), ("upgrade", "at once"), ("what is due is paid",), ("cancel",)),
    (("plus",), ("the card breaks",), ("pro",), ("what is due is paid",), ("its bank disputes", 1, True)),
    (("a trial",), ("the card breaks",), ("cancel",), ("the card is mended",), ("plus",)),
    (("a trial",), ("the card breaks",), ("pause",), ("what is due is paid",), ("upgrade", "at once")),
    (("a year on trial",), ("cancel at the end",), ("go on",), ("upgrade", "if it is paid"), ("cancel",)),
    (("plus",), ("its billing is paused", "keep_as_draft", 40), ("pro",), ("upgrade", "at once")),
    (("a year",), ("pause",), ("resume",), ("upgrade", "at once"), ("cancel",)),
    (("a year",), ("pause",), ("resume",), ("pause",), ("resume",)),
    (("a year",), ("the card breaks",), ("upgrade", "at once"), ("cancel",)),
    (("a year",), ("the card breaks",), ("upgrade", "at once"), ("go on",), ("what is due is paid",)),
    (("a year",), ("its billing is paused", "void", 0), ("upgrade", "at once"), ("pause",), ("cancel",)),
    (("plus",), ("its billing is paused", "mark_uncollectible", 0), ("upgrade", "at once"), ("its billing goes on",)),
    (("a trial without a card", "pause", 12), ("go on",), ("the card is mended",), ("resume",), ("pause",)),
    (("a trial without a card", "cancel", 1), ("go on",), ("the card is mended",), ("a year",), ("pause",)),
    (("a year",), ("its billing is paused", "void", 0), ("its billing goes on",), ("upgrade", "at once")),
)
"""What subscriptions go through that chance makes too seldom; what is out of place when its turn comes is left out."""

FIRST_MONTH_ENDS = months_after(T0, 1)
PAYMENTS = ("bank", "come back", "spend", "refund", "refund fails", "dispute", "dispute ends", "give up")
PAUSES = (0, 0, 1, 3, 9, 30, 45)
"""How many days pass between two rounds: most are less than a period."""

Act = tuple[Any, ...]


def any_life(chance: random.Random) -> list[Act]:
    """What a customer does, one thing in each round. What is out of place there does not happen."""
    buys, subscribes = chance.choice(((1, 5), (1, 3), (2, 1)))
    kinds = chance.choices(("buy", "subscribe"), (buys, subscribes), k=chance.randint(2, ROUNDS))
    acts: list[Act] = []
    last = ""
    for n, kind in enumerate(kinds):
        is_first = kind not in kinds[:n]
        if kind == "subscribe":
            of = chance.choices((BEGINS, CHANGES, CARD, MONEY), (8, 0, 1, 0) if is_first else (2, 5, 3, 1))[0]
            if last in FOLLOWS and chance.random() < 0.7:
                of = FOLLOWS[last]
            last = chance.choice(of)
            acts.append(("subscription", last, *_details(last, chance)))
        else:
            what = chance.choice(("buy", "buy by bank") if is_first or not n % 4 else PAYMENTS)
            acts.append(_payment(what, chance))
    return acts


def _details(what: str, chance: random.Random) -> Act:
    match what:
        case "upgrade":
            return (chance.choice(tuple(HOW)),)
        case "a trial without a card":
            return chance.choice(("cancel", "pause")), chance.choice((1, 12))
        case "its billing is paused":
            return chance.choice(("void", "mark_uncollectible", "keep_as_draft")), chance.choice((0, 2, 20, 40))
        case "its money comes back" | "its bank disputes":
            return chance.randint(1, 1900), chance.random() < 0.5
    return ()


def _payment(what: str, chance: random.Random) -> Act:
    match what:
        case "spend":
            return what, chance.randint(1, 120)
        case "refund":
            return what, chance.randint(1, 599)
        case "dispute":
            return what, chance.choice(("chargeback", "inquiry"))
        case "buy" | "buy by bank" | "bank" | "dispute ends":
            return what, chance.random() < 0.5
    return (what,)


class LateWorld:
    """Two processes on one database, at which every event comes some time, once to three times."""

    def __init__(self, first: Shop, second: Shop, chance: random.Random) -> None:
        self._processes = (first, second)
        self._chance = chance
        self._waiting: list[dict[str, Any]] = []

    async def hear(self, events: Iterable[dict[str, Any]], *, at_last: bool = False) -> None:
        """Some of what has happened; the rest comes later, or now when it is `at_last`."""
        for event in events:
            self._waiting += [event] * self._chance.choice((1, 1, 1, 1, 2, 3))
        self._chance.shuffle(self._waiting)
        count = len(self._waiting) if at_last else self._chance.randint(0, len(self._waiting)) // 2
        now, self._waiting = self._waiting[:count], self._waiting[count:]
        await asyncio.gather(*(shop.receive_all(now[n::2]) for n, shop in enumerate(self._processes)))
        await asyncio.gather(*map(self._work, self._processes))

    async def _work(self, shop: Shop) -> None:
        while await shop.billing.work_inbox():
            pass


async def live(template: Path, chance: random.Random) -> None:
    """Some lives at once, which share nothing but the time."""
    told = [[("subscription", *act) for act in life] for life in chance.sample(SELDOM, 3)]
    told += [any_life(chance) for _ in range(CUSTOMERS - len(told))]
    names = [f"customer{n}" for n in range(CUSTOMERS)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = await stack.enter_async_context(SandboxServer(Sandbox()))
        sandbox = server.sandbox
        seed_prices(sandbox)
        ends_as = chance.choice(("cancel", "unpaid"))
        billing_settings.change(sandbox, upcoming_days=0, after_retries=ends_as)

        def clock() -> datetime:
            return datetime.fromtimestamp(sandbox.now(), UTC)

        async def world(name: str) -> Shop:
            url = f"sqlite:///{folder}/{name}.db"
            return await stack.enter_async_context(make_shop(url, CATALOGUE, server, clock))

        for name in ("at once", "late"):
            shutil.copy(template, Path(folder) / f"{name}.db")
        at_once, late, other = await world("at once"), await world("late"), await world("late")
        browser = await stack.enter_async_context(httpx2.AsyncClient())
        everybody = [Life(name, at_once, late, browser, Membership(T0, ends_as)) for name in names]
        for shop in (at_once, late):
            await begin(shop, everybody)
        late_world, teller = LateWorld(late, other, chance), Teller(sandbox)

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

        for n in range(ROUNDS):
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


class Teller:
    """Tells what has happened in a sandbox since the last time, in its order: what our webhook endpoint is sent."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._store = sandbox.store
        self._last = 0

    def new(self) -> list[dict[str, Any]]:
        query = "SELECT seq, body FROM objects WHERE type = 'event' AND seq > ? ORDER BY seq"
        rows = self._store.connection.execute(query, (self._last,)).fetchall()
        self._last = rows[-1][0] if rows else self._last
        events = [json.loads(body) for _, body in rows]
        return [event for event in events if event["type"] in HANDLED_EVENTS]


async def begin(shop: Shop, everybody: list[Life]) -> None:
    for life in everybody:
        await shop.ledger.submit(OpenAccount(account_id=life.name, plan="free"))
        # No monthly credits, so that what is spent is what was bought.
        await shop.ledger.submit(Spend(account_id=life.name, key="monthly", amount=25))
    rows = [
        {"account_id": life.name, "stripe_customer_id": life.customer_id, "created_at": shop.clock()}
        for life in everybody
    ]
    await shop.database.write(lambda connection: connection.execute(customers.insert(), rows))


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
        statuses = {purchase.id: purchase.status for purchase in await shop.billing.purchases(life.name)}
        for bought in life.bought:
            assert (statuses[bought.purchase_id] is PurchaseStatus.CREDITED) is bought.paid


def taken(account: Account) -> set[int]:
    return {clawback.total for clawback in account.clawbacks if clawback.total}


def test_s27_any_order_of_the_events_of_any_lives_ends_where_they_would_have_in_order(
    sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own time stands still between the rounds, so that every instant is exact.
    monkeypatch.setattr("stripe_sandbox.sandbox.time", SimpleNamespace(time=T0.timestamp))

    @seed(int(os.environ.get("TALLYSTICK_LIVES_SEED", "27")))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(number=st.integers(0, 2**64 - 1))
    def run(number: int) -> None:
        # The loop on which the service runs.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(live(sqlite_template, random.Random(number)))

    run()

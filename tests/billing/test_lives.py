"""S27: order never matters. Random lives of customers at Stripe, whose events arrive shuffled, up to three times,
and at two processes at once: the end is that of every event in its order, and that of a plain model.

TALLYSTICK_LIVES multiplies how many there are.
"""

import asyncio
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from stripe_sandbox import SandboxServer, checkout, disputes, refunds
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from tallystick.billing import PurchaseStatus
from tallystick.domain.account import Account
from tallystick.domain.commands import Spend
from tests.billing.conftest import BANK, Shop, make_shop
from tests.billing.conftest import seed as seed_prices
from tests.sandbox.conftest import CARD

CUSTOMERS = 15
EXAMPLES = 20 * int(os.environ.get("TALLYSTICK_LIVES", "1"))

actions = st.one_of(
    st.tuples(st.just("buy"), st.booleans()),
    st.tuples(st.just("buy by bank"), st.booleans()),
    st.tuples(st.just("bank"), st.booleans()),
    st.tuples(st.just("come back")),
    st.tuples(st.just("spend"), st.integers(1, 120)),
    st.tuples(st.just("refund"), st.integers(1, 599)),
    st.tuples(st.just("refund fails")),
    st.tuples(st.just("dispute"), st.sampled_from(["chargeback", "inquiry"])),
    st.tuples(st.just("dispute ends"), st.booleans()),
    st.tuples(st.just("give up")),
)
lives = st.lists(st.lists(actions, max_size=8), min_size=CUSTOMERS, max_size=CUSTOMERS)


@dataclass
class _Bought:
    """What the model knows of one purchase: money in cents."""

    purchase_id: str
    session_id: str
    paid: bool = False
    refunded: list[int] = field(default_factory=list)
    dispute: str = ""

    @property
    def credits(self) -> int:
        """What is left of its 200 credits by S23 and S25, spent or not."""
        if not self.paid:
            return 0
        gone = sum(self.refunded) + (599 if self.dispute in ("chargeback", "lost") else 0)
        return 200 - 200 * min(599, gone) // 599


class _Life:
    """One customer: acts at Stripe and writes down, in the plainest way, what that should come to."""

    def __init__(self, shop: Shop, name: str, browser: httpx2.AsyncClient) -> None:
        self._shop = shop
        self._name = name
        self._browser = browser
        self._spent = 0
        self.bought: list[_Bought] = []

    async def act(self, n: int, what: str, *options: Any) -> None:
        latest = self.bought[-1] if self.bought else None
        match what, latest:
            case (("buy" | "buy by bank"), _):
                await self._buy(CARD if what == "buy" else BANK, returns=options[0])
            case "spend", _:
                await self._spend(n, options[0])
            case "give up", _:
                await self._shop.billing.start_pack_checkout(self._name)
            case _, None:
                return
            case "come back", _:
                await self._shop.billing.fulfil(latest.session_id)
            case _:
                self._at_stripe(what, latest, *options)

    def credits(self) -> int:
        return sum(bought.credits for bought in self.bought) - self._spent

    async def _buy(self, form: dict[str, str], *, returns: bool) -> None:
        if self.bought:
            # Who buys again has come back from the last time.
            await self._shop.billing.fulfil(self.bought[-1].session_id)
        started = await self._shop.billing.start_pack_checkout(self._name)
        assert started.purchase_id is not None
        purchase = await self._shop.billing.purchase(self._name, started.purchase_id)
        assert (await self._browser.post(started.url, data=form)).status_code == 303
        self.bought.append(_Bought(purchase.id, purchase.checkout_session_id, paid=form is CARD))
        if returns:
            await self._shop.billing.fulfil(purchase.checkout_session_id)

    async def _spend(self, n: int, amount: int) -> None:
        account = await self._shop.ledger.account(self._name)
        # Bonus credits alone: the monthly ones are no business of Stripe's here.
        if account.monthly == 0 and account.available >= amount:
            await self._shop.ledger.submit(Spend(account_id=self._name, key=f"spend{n}", amount=amount))
            self._spent += amount

    def _at_stripe(self, what: str, bought: _Bought, *options: Any) -> None:
        sandbox = self._shop.sandbox
        session = sandbox.get(bought.session_id, "checkout.session")
        intent = sandbox.get(session["_intent"], "payment_intent")
        if what == "bank" and intent["status"] == "processing":
            checkout.settle_bank_payment(sandbox, intent["id"], succeeds=options[0])
            bought.paid = options[0]
        if not bought.paid:
            return
        try:
            self._payment(what, bought, intent["id"], *options)
        except StripeError:
            # What Stripe refuses has not happened: more than is left, or a payment that is charged back.
            return

    def _payment(self, what: str, bought: _Bought, intent: str, *options: Any) -> None:
        sandbox = self._shop.sandbox
        mine = [r for r in sandbox.store.newest_first("refund") if r["payment_intent"] == intent]
        theirs = [d for d in sandbox.store.newest_first("dispute") if d["payment_intent"] == intent]
        match what:
            case "refund":
                refunds.create(sandbox, {"payment_intent": intent, "amount": options[0]})
                bought.refunded.append(options[0])
            case "refund fails" if mine and mine[0]["status"] == "succeeded":
                refunds.fail(sandbox, mine[0]["id"])
                bought.refunded.remove(mine[0]["amount"])
            case "dispute" if not theirs:
                disputes.open(sandbox, intent, kind=disputes.Kind(options[0]))
                bought.dispute = options[0]
            case "dispute ends" if theirs:
                (disputes.win if options[0] else disputes.lose)(sandbox, theirs[0]["id"])
                bought.dispute = "won" if options[0] or bought.dispute == "inquiry" else "lost"


async def end_of(shop: Shop, names: list[str]) -> dict[str, Account]:
    await shop.assert_proven()
    return {name: await shop.ledger.account(name) for name in names}


async def deliver_at_two(first: Shop, second: Shop, events: list[dict[str, Any]]) -> None:
    """Every event at either of two processes, which work the same inbox at once."""
    for n, event in enumerate(events):
        await (first, second)[n % 2].receive(event)

    async def work(shop: Shop) -> None:
        while await shop.billing.work_inbox():
            pass

    await asyncio.gather(work(first), work(second))


async def live(template: Path, catalogue: Any, told: list[list[tuple[Any, ...]]], chance: random.Random) -> None:
    names = [f"customer{n}" for n in range(CUSTOMERS)]
    with tempfile.TemporaryDirectory() as folder:
        async with SandboxServer(Sandbox()) as server:
            seed_prices(server.sandbox)
            shutil.copy(template, Path(folder) / "base.db")
            async with (
                make_shop(f"sqlite:///{folder}/base.db", catalogue, server) as shop,
                httpx2.AsyncClient() as browser,
            ):
                customers = [_Life(shop, await shop.open(name), browser) for name in names]
                for name in names:
                    # No monthly credits, so that what is spent is what was bought.
                    await shop.ledger.submit(Spend(account_id=name, key="monthly", amount=25))
                for n in range(max(map(len, told))):
                    for customer, actions in zip(customers, told, strict=True):
                        if n < len(actions):
                            await customer.act(n, *actions[n])
                events = shop.events()
            for copy in ("in order", "shuffled"):
                shutil.copy(Path(folder) / "base.db", Path(folder) / f"{copy}.db")
            async with make_shop(f"sqlite:///{folder}/in order.db", catalogue, server) as shop:
                await shop.deliver(events)
                in_order = await end_of(shop, names)
            url = f"sqlite:///{folder}/shuffled.db"
            async with make_shop(url, catalogue, server) as one, make_shop(url, catalogue, server) as other:
                jumbled = [event for event in events for _ in range(chance.randint(1, 3))]
                chance.shuffle(jumbled)
                await deliver_at_two(one, other, jumbled)
                shuffled = await end_of(one, names)
                statuses = {p.id: p.status for name in names for p in await one.billing.purchases(name)}
    for name, customer in zip(names, customers, strict=True):
        first, second = in_order[name], shuffled[name]
        assert first.bonus - first.debt == second.bonus - second.debt == customer.credits()
        assert (first.plan, first.monthly) == (second.plan, second.monthly)
        if first.debt == second.debt == 0:
            assert (first.bonus, first.frozen) == (second.bonus, second.frozen)
        assert {c.total for c in first.clawbacks if c.total} == {c.total for c in second.clawbacks if c.total}
        for bought in customer.bought:
            paid = statuses[bought.purchase_id] is PurchaseStatus.CREDITED
            assert paid is bought.paid


def test_s27_any_order_of_the_events_of_any_lives_ends_where_they_would_have_in_order(
    sqlite_template: Path, catalogue: Any
) -> None:
    @seed(int(os.environ.get("TALLYSTICK_LIVES_SEED", "27")))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(told=lives, chance=st.randoms(use_true_random=False))
    def run(told: list[list[tuple[Any, ...]]], chance: random.Random) -> None:
        asyncio.run(live(sqlite_template, catalogue, told, chance))

    run()

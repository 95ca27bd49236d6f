"""Random lives of customers: what each does at Stripe, and in the plainest way what that should come to."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from stripe_sandbox import checkout, customers, disputes, refunds
from stripe_sandbox.billing import collection, lifecycle, schedules, updates
from stripe_sandbox.errors import StripeError
from stripe_sandbox.payment_methods import attach, find
from stripe_sandbox.sandbox import Sandbox
from tallystick.billing.billing import HANDLED_EVENTS
from tallystick.database.tables import customers as known_customers
from tallystick.database.tables import purchases
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.commands import OpenAccount, Spend
from tests.billing.conftest import BANK, Shop
from tests.billing.lifecycle import DECLINES_LATER, GOOD, PLUS_YEAR, PRO, PRO_YEAR
from tests.billing.membership import Membership, Running
from tests.conftest import PACK_PRICE, PLUS_PRICE
from tests.sandbox.conftest import CARD

CATALOGUE = Catalogue(
    [
        # Whoever may buy says the plan, which the two worlds hear of at different times.
        Plan("free", 25, can_buy=True),
        Plan("plus", 500, can_buy=True, stripe_price=PLUS_PRICE, stripe_price_yearly=PLUS_YEAR),
        Plan("pro", 2_000, can_buy=True, stripe_price=PRO, stripe_price_yearly=PRO_YEAR),
    ],
    [Pack("credits_200", credits=200, price="5.99 USD", stripe_price=PACK_PRICE)],
)
PRICES = {("plus", 1): PLUS_PRICE, ("plus", 12): PLUS_YEAR, ("pro", 1): PRO, ("pro", 12): PRO_YEAR}
TRIAL_DAYS = 14
HOW = {
    "if it is paid": "error_if_incomplete",
    "when it is paid": "pending_if_incomplete",
    "at once": "allow_incomplete",
}
"""When an upgrade takes place, and what that is called at Stripe."""


@dataclass
class Bought:
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


class Life:
    """One customer, of whom two worlds hear: in one every event comes at once, in the other any time later."""

    def __init__(
        self, name: str, at_once: Shop, late: Shop, browser: httpx2.AsyncClient, membership: Membership
    ) -> None:
        self.name = name
        self._at_once = at_once
        self._late = late
        self._sandbox: Sandbox = at_once.sandbox
        self._browser = browser
        self._spent = 0
        self.bought: list[Bought] = []
        self.acts: list[tuple[Any, ...]] = []
        self.membership = membership
        default = {"payment_method": GOOD, "invoice_settings": {"default_payment_method": GOOD}}
        made = customers.create(self._sandbox, {"metadata": {"account_id": name}, **default})
        self.customer_id: str = made["id"]
        self._subscription_id = ""

    async def act(self, n: int, what: str, *options: Any) -> None:
        self.acts.append((self.membership.now.isoformat(), what, *options))
        latest = self.bought[-1] if self.bought else None
        match what, latest:
            case (("buy" | "buy by bank"), _):
                await self._buy(CARD if what == "buy" else BANK, returns=options[0])
            case "spend", _:
                await self._spend(n, options[0])
            case "give up", _:
                await self._at_once.billing.start_pack_checkout(self.name)
                await copy_purchases(self._at_once, self._late, self.name)
            case "subscription", _:
                self._subscription(*options)
            case _, None:
                return
            case "come back", _:
                await self._late.billing.fulfil(latest.session_id)
            case _:
                self._payment_of(what, latest, *options)

    def credits(self) -> int:
        return sum(bought.credits for bought in self.bought) - self._spent

    async def _buy(self, form: dict[str, str], *, returns: bool) -> None:
        started = await self._at_once.billing.start_pack_checkout(self.name)
        assert started.purchase_id is not None
        purchase = await self._at_once.billing.purchase(self.name, started.purchase_id)
        await copy_purchases(self._at_once, self._late, self.name)
        assert (await self._browser.post(started.url, data=form)).status_code == 303
        self.bought.append(Bought(purchase.id, purchase.checkout_session_id, paid=form is CARD))
        if returns:
            await self._late.billing.fulfil(purchase.checkout_session_id)

    async def _spend(self, n: int, amount: int) -> None:
        """Of what both worlds have alike: bonus credits, while there are no monthly ones."""
        worlds = (self._at_once.ledger, self._late.ledger)
        accounts = [await ledger.account(self.name) for ledger in worlds]
        if all(account.monthly == 0 and account.available >= amount for account in accounts):
            for ledger in worlds:
                await ledger.submit(Spend(account_id=self.name, key=f"spend{n}", amount=amount))
            self._spent += amount

    def _payment_of(self, what: str, bought: Bought, *options: Any) -> None:
        session = self._sandbox.get(bought.session_id, "checkout.session")
        intent = self._sandbox.get(session["_intent"], "payment_intent")
        if what == "bank" and intent["status"] == "processing":
            checkout.settle_bank_payment(self._sandbox, intent["id"], succeeds=options[0])
            bought.paid = options[0]
        if not bought.paid:
            return
        try:
            self._payment(what, bought, intent["id"], *options)
        except StripeError:
            # What Stripe refuses has not happened: more than is left, or a payment that is charged back.
            return

    def _payment(self, what: str, bought: Bought, intent: str, *options: Any) -> None:
        sandbox = self._sandbox
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

    def _subscription(self, what: str, *options: Any) -> None:
        model, running = self.membership, self.membership.running
        if running is None:
            self._begin(what, *options)
        match what:
            case "the card breaks" | "the card is mended" | "what is due is paid":
                self._card(what)
            case _ if running is None:
                return
            case "cancel":
                lifecycle.cancel(self._sandbox, self._found(), {})
                model.cancel()
            case "pause" if running.status == "active" and not running.cancels and not running.becomes:
                if self._found()["pause_collection"] is not None:
                    # What is billed to resume it is to be paid.
                    updates.update(self._sandbox, self._found(), {"pause_collection": ""})
                lifecycle.pause(self._sandbox, self._found(), {})
                model.pause(running)
            case "resume" if running.status == "paused" and model.card_is_good:
                # Where that would be over, a period that goes on is none.
                stays = options == ("unchanged",) and model.now < running.ends
                lifecycle.resume(
                    self._sandbox, self._found(), {"billing_cycle_anchor": "unchanged" if stays else "now"}
                )
                model.resume(running, stays=stays)
            case "its money comes back" | "its bank disputes":
                self._payment_of_invoice(what, *options)
            case _ if running.status in ("active", "trialing") and not running.bills:
                self._change(what, running, *options)

    def _begin(self, what: str, *options: Any) -> None:
        model = self.membership
        match what:
            case "a trial without a card":
                without, months = options
                customers.update(
                    self._sandbox, self.customer_id, {"invoice_settings": {"default_payment_method": ""}}
                )
                ends = {"end_behavior": {"missing_payment_method": without}}
                self._subscribe("plus", months, trial_period_days=TRIAL_DAYS, trial_settings=ends)
                model.try_out("plus", months, TRIAL_DAYS, without)
            case _ if not model.has_card:
                return
            case "plus" | "pro" | "a year":
                plan, months = ("plus", 12) if what == "a year" else (what, 1)
                self._subscribe(plan, months)
                model.subscribe(plan, months)
            case "a trial" | "a year on trial":
                months = 1 if what == "a trial" else 12
                self._subscribe("plus", months, trial_period_days=TRIAL_DAYS)
                model.try_out("plus", months, TRIAL_DAYS)

    def _card(self, what: str) -> None:
        model, running = self.membership, self.membership.running
        model.card_is_good, model.has_card = what != "the card breaks", True
        self._use_card(GOOD if model.card_is_good else DECLINES_LATER)
        owes_upgrade = running is not None and any(bill.upgrades for bill in running.bills)
        # With a new card everything that is due is paid at once where it would matter what is paid first.
        pays = what == "what is due is paid" or (owes_upgrade and model.card_is_good)
        if running is not None and running.bills and pays:
            self._pay()
            model.pay(running)

    def _change(self, what: str, running: Running, *options: Any) -> None:
        """What is changed at Stripe while all is well. While a schedule has it, Stripe refuses most of that."""
        model = self.membership
        free = self._found()["schedule"] is None
        is_held = running.is_held(model.now)
        changeable = free and running.status == "active" and not running.cancels
        match what:
            case "upgrade" if changeable and running.plan == "plus":
                # Only what takes place at once does not wait for a payment, for which nobody asks while that is paused.
                how = "at once" if is_held else options[0]
                with suppress(StripeError):
                    self._set_price(PRICES["pro", running.months], HOW[how])
                model.upgrade(running, how)
            case "to the year" if changeable and not is_held and running.months == 1 and model.card_is_good:
                self._set_price(PRICES[running.plan, 12], HOW["if it is paid"])
                model.to_the_year(running)
            case "downgrade" if changeable and not is_held and running.plan == "pro" and model.card_is_good:
                self._change_at_the_end(PRICES["plus", running.months])
                running.becomes = "plus"
            case "cancel at the end" | "go on" if free:
                running.cancels = what == "cancel at the end"
                updates.update(self._sandbox, self._found(), {"cancel_at_period_end": running.cancels})
            case "its billing is paused":
                behavior, days = options
                running.billed_again = model.now + timedelta(days=days) if days else datetime.max.replace(tzinfo=UTC)
                resumes = {"resumes_at": int(running.billed_again.timestamp())} if days else {}
                pausing = {"behavior": behavior, **resumes}
                updates.update(self._sandbox, self._found(), {"pause_collection": pausing})
            case "its billing goes on" if running.billed_again is not None:
                running.billed_again = None
                updates.update(self._sandbox, self._found(), {"pause_collection": ""})

    def _found(self) -> dict[str, Any]:
        return self._sandbox.get(self._subscription_id, "subscription")

    def _subscribe(self, plan: str, months: int, **terms: Any) -> None:
        given = {"customer": self.customer_id, "items": [{"price": PRICES[plan, months]}], "metadata": {"plan": plan}}
        given |= terms
        self._subscription_id = lifecycle.create(self._sandbox, given)["id"]

    def _set_price(self, price: str, behavior: str) -> None:
        found = self._found()
        items = [{"id": found["items"]["data"][0]["id"], "price": price}]
        how = {"proration_behavior": "always_invoice", "payment_behavior": behavior}
        updates.update(self._sandbox, found, {"items": items, **how})

    def _change_at_the_end(self, price: str) -> None:
        item = self._found()["items"]["data"][0]
        schedule = schedules.create(self._sandbox, {"from_subscription": self._subscription_id})
        span = {"start_date": item["current_period_start"], "end_date": item["current_period_end"]}
        now = {**span, "items": [{"price": item["price"]["id"]}]}
        then = {"items": [{"price": price}], "proration_behavior": "none"}
        schedules.update(self._sandbox, schedule, {"phases": [now, then], "end_behavior": "release"})

    def _use_card(self, name: str) -> None:
        method = attach(self._sandbox, find(self._sandbox, name), self.customer_id)
        settings = {"default_payment_method": method["id"]}
        customers.update(self._sandbox, self.customer_id, {"invoice_settings": settings})

    def _pay(self) -> None:
        """Everything that is open, the oldest first."""
        open_ones = self._sandbox.store.newest_first(
            "invoice", lambda i: bool(i["status"] == "open" and i["auto_advance"] and self._is_mine(i))
        )
        for invoice in reversed(open_ones):
            collection.pay(self._sandbox, invoice, {})

    def _is_mine(self, invoice: dict[str, Any]) -> bool:
        parent = invoice["parent"] or {}
        return bool(parent and parent["subscription_details"]["subscription"] == self._subscription_id)

    def _payment_of_invoice(self, what: str, amount: int, wins: bool) -> None:
        """Neither takes monthly credits back (docs/decisions/0004)."""
        store = self._sandbox.store
        mine = {invoice["id"] for invoice in store.newest_first("invoice", self._is_mine)}
        paid = store.newest_first("invoice_payment", lambda p: p["invoice"] in mine and p["status"] == "paid")
        if not paid:
            return
        intent = paid[0]["payment"]["payment_intent"]
        with suppress(StripeError):
            if what == "its money comes back":
                refunds.create(self._sandbox, {"payment_intent": intent, "amount": amount})
            elif not store.newest_first("dispute", lambda d: bool(d["payment_intent"] == intent)):
                opened = disputes.open(self._sandbox, intent)
                (disputes.win if wins else disputes.lose)(self._sandbox, opened["id"])


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
    await shop.database.write(lambda connection: connection.execute(known_customers.insert(), rows))


async def copy_purchases(of: Shop, to: Shop, account_id: str) -> None:
    """What was sold in one world was sold in the other one too, and has not been heard of since."""
    query = select(purchases).where(purchases.c.account_id == account_id)
    rows = await of.database.read(lambda connection: connection.execute(query).mappings().all())
    dialect = postgresql if to.database.dialect == "postgresql" else sqlite
    adding = dialect.insert(purchases).on_conflict_do_nothing()
    await to.database.write(lambda connection: connection.execute(adding, [dict(row) for row in rows]))

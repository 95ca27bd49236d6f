"""`tallystick refund` and `tallystick reconcile` as an operator types them, in front of a running sandbox."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from stripe_sandbox import disputes, refunds
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Spend
from tests.billing.conftest import SECRET, Shop, proven_shop
from tests.cli.test_commands import tallystick
from tests.conftest import PACK_PRICE, PLUS_PRICE
from tests.sandbox.conftest import CARD

Command = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
async def shop(sqlite_url: str, catalogue: Catalogue) -> AsyncIterator[Shop]:
    async with proven_shop(sqlite_url, catalogue) as made:
        yield made


@pytest.fixture
def command(shop: Shop, sqlite_url: str, tmp_path: Path) -> Command:
    environment = {
        "DATABASE_URL": sqlite_url,
        "STRIPE_SECRET_KEY": "sk_test_1",
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "STRIPE_API_BASE": shop.url,
        "STRIPE_PLUS_PRICE_ID": PLUS_PRICE,
        "STRIPE_CREDIT_PACK_200_PRICE_ID": PACK_PRICE,
    }
    return lambda *words: asyncio.to_thread(tallystick, tmp_path, *words, **environment)


async def test_s23_a_refund_is_said_first_and_made_once(shop: Shop, command: Command) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.deliver()
    await shop.ledger.submit(Spend(account_id="acme", key="s", amount=25 + 175))
    said = await command("refund", purchase.id, "--json")
    quote = json.loads(said.stdout)
    assert (said.returncode, quote["takes"], quote["debt"]) == (0, 200, 175)
    asked = await command("refund", purchase.id)
    assert (asked.returncode, "5.99 USD" in asked.stdout, "Refund it?" in asked.stdout) == (1, True, True)
    assert (await shop.account()).bonus == 25
    for _ in range(2):
        made = await command("refund", purchase.id, "--amount", "2.00", "--key", "ticket-1", "--yes")
        assert (made.returncode, made.stderr) == (0, "")
        assert "Refunded 2.00 USD" in made.stdout
    assert (await shop.account()).bonus == 0
    assert (await shop.account()).debt == 66 - 25
    for _ in range(2):
        made = await command("refund", purchase.id, "--key", "ticket-2", "--yes", "--json")
        done = json.loads(made.stdout)
        (stripes, _) = (await shop.stripe.v1.refunds.list_async()).data
        assert (made.returncode, done["stripe_refund"], done["status"]) == (0, stripes.id, "done")
        assert (done["amount"], done["refunded"], done["taken_back"], done["debt"]) == (399, 599, 200, 175)
    for words, amount in ((("--amount", "2.00", "--key", "ticket-1"), "2.00"), (("--key", "ticket-2"), "3.99")):
        again = await command("refund", purchase.id, *words)
        assert (again.returncode, again.stderr, "Refund it?" in again.stdout) == (0, "", False)
        assert f"Refunded {amount} USD" in again.stdout
        assert json.loads((await command("refund", purchase.id, *words, "--json")).stdout)["status"] == "done"
    unknown = await command("refund", "pur_unknown", "--yes")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no purchase 'pur_unknown' here" in unknown.stderr
    assert "tallystick purchases list" in unknown.stderr
    other = await command("refund", purchase.id, "--amount", "2.00 EUR", "--key", "ticket-1", "--yes")
    assert (other.returncode, "paid in USD" in other.stderr) == (1, True)


async def test_s23_of_a_refund_that_is_on_its_way_it_is_said_until_it_has_arrived_or_failed(
    shop: Shop, command: Command
) -> None:
    await shop.open()
    purchase = await shop.buy(form={**CARD, "card_number": "4000 0000 0000 7726"})
    await shop.deliver()
    words = ("refund", purchase.id, "--key", "k", "--yes")
    made = await command(*words)
    assert (made.returncode, "5.99 USD is on its way back" in made.stdout, "Refunded 5" in made.stdout) == (
        0,
        True,
        False,
    )
    told = json.loads((await command(*words, "--json")).stdout)
    assert (told["status"], told["taken_back"]) == ("pending", 200)
    refunds.succeed(shop.sandbox, told["stripe_refund"])
    assert "Refunded 5.99 USD." in (await command(*words)).stdout
    assert json.loads((await command(*words, "--json")).stdout)["status"] == "done"
    refunds.fail(shop.sandbox, told["stripe_refund"])
    await shop.deliver()
    assert "did not reach the buyer, and can be refunded once more" in (await command(*words)).stdout
    failed = json.loads((await command(*words, "--json")).stdout)
    assert (failed["status"], failed["taken_back"]) == ("failed", 0)


async def test_s25_of_a_disputed_purchase_a_refund_says_so_and_what_to_do(shop: Shop, command: Command) -> None:
    await shop.open()
    asked = await shop.buy()
    charged_back = await shop.buy()
    await shop.deliver()
    for purchase, kind in ((asked, disputes.Kind.INQUIRY), (charged_back, disputes.Kind.CHARGEBACK)):
        paid = await shop.billing.purchase("acme", purchase.id)
        disputes.open(shop.sandbox, paid.payment_intent_id or "", kind=kind)
    refused = await command("refund", charged_back.id, "--yes")
    assert (refused.returncode, refused.stdout) == (1, "")
    (said,) = refused.stderr.splitlines()
    for words in ("Nothing was changed", "has withdrawn the money", "Stripe refuses", "Answer the dispute"):
        assert words in said
    quote = json.loads((await command("refund", asked.id, "--json")).stdout)
    assert (quote["dispute"], quote["amount"]) == ("warning_needs_response", 599)
    assert "ends the inquiry" in quote["warning"]
    assert "ends the inquiry" in (await command("refund", asked.id)).stdout


async def test_a_subscription_that_stripe_has_lost_is_told_and_ended_by_the_command_that_is_suggested(
    shop: Shop, command: Command
) -> None:
    await shop.open(plan="free")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    assert await shop.pay(started.url) == 303
    await shop.deliver()
    (subscription,) = shop.sandbox.store.newest_first("subscription")
    there = await command("subscriptions", "end", subscription["id"])
    assert (there.returncode, "it is active there. Nothing was changed" in there.stderr) == (1, True)
    shop.sandbox.store.delete(subscription["id"])
    (left,) = json.loads((await command("reconcile", "--apply", "--json")).stdout)["left"]
    suggested = left["suggestion"].split()
    assert suggested == ["tallystick", "subscriptions", "end", subscription["id"]]
    ended = await command(*suggested[1:])
    assert (ended.returncode, "What acme has of its monthly credits" in ended.stdout) == (0, True)
    assert ((await shop.account()).plan, (await shop.account()).monthly) == ("free", 500)
    assert (await command("reconcile", "--apply")).returncode == 0
    unknown = await command("subscriptions", "end", "sub_nope")
    assert (unknown.returncode, "no subscription 'sub_nope' here" in unknown.stderr) == (1, True)


async def test_purchases_are_listed_with_where_each_stands(shop: Shop, command: Command) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.deliver()
    await shop.billing.start_pack_checkout("acme")
    await shop.billing.refund(purchase.id, 200, key="r")
    table = await command("purchases", "list", "--state", "credited")
    (line,) = (line for line in table.stdout.splitlines() if "pur_" in line)
    assert {purchase.id, "acme", "200", "credited", "2.00", "66"} <= set(line.split())
    told = json.loads((await command("purchases", "list", "--account", "acme", "--json")).stdout)["purchases"]
    assert [each["status"] for each in told] == ["open", "credited"]
    assert (told[1]["refunded"], told[1]["taken_back"], told[1]["amount"]) == (200, 66, 599)
    nobody = await command("purchases", "list", "--account", "nobody")
    assert (nobody.returncode, nobody.stdout) == (0, "No such purchases.\n")


async def test_a_missed_payment_is_found_then_repaired_and_the_report_ends_with_nothing_unexplained(
    shop: Shop, command: Command
) -> None:
    await shop.open()
    purchase = await shop.buy()
    found = await command("reconcile", "--json")
    report = json.loads(found.stdout)
    assert (found.returncode, report["expected_credits"], report["booked_credits"]) == (1, 200, 0)
    assert {difference["kind"] for difference in report["left"]} >= {"paid_not_credited"}
    assert (await shop.account()).bonus == 0
    repaired = await command("reconcile", "--apply")
    assert repaired.returncode == 0
    assert "Unexplained difference: 0 credits." in repaired.stdout
    assert "--apply" not in repaired.stdout
    (credited,) = (line for line in repaired.stdout.splitlines() if "checkout.session.completed" in line)
    assert {"acme", "+200", purchase.checkout_session_id} <= set(credited.replace(",", " ").split())
    assert (await shop.account()).bonus == 200
    healthy = json.loads((await command("reconcile", "--json")).stdout)
    assert (healthy["unexplained_credits"], healthy["left"]) == (0, [])
    wrong = await command("reconcile", "--since", "yesterday")
    assert (wrong.returncode, "a day like 2026-11-01" in wrong.stderr) == (1, True)

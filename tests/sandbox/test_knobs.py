"""What can be made to go wrong with deliveries: the same seed, the same trouble."""

import asyncio
from collections import Counter

import httpx2
import pytest
import stripe

from stripe_sandbox import Sandbox, SandboxServer, shapes
from stripe_sandbox.knobs import Does, Knob, Knobs
from tests.sandbox.receiving import Inbox, receiver, until


def customers(sandbox: Sandbox, names: str) -> None:
    """Something happens, once for each letter."""
    for name in names:
        sandbox.emit("customer.created", shapes.customer(f"cus_{name}", sandbox.now(), {}))


def arrived(inbox: Inbox) -> str:
    return "".join(event["data"]["object"]["id"][-1] for event in inbox.events())


async def settled(sandbox: Sandbox) -> None:
    await until(lambda: sandbox.deliveries.waiting() == 0)


async def test_the_same_seed_duplicates_and_reorders_in_the_same_way(sandbox: SandboxServer) -> None:
    orders = []
    for seed in (7, 7, 8):
        async with receiver() as inbox:
            endpoint = sandbox.sandbox.register_webhook(inbox.url, only=True)
            sandbox.sandbox.deliveries.calm(seed)
            sandbox.sandbox.deliveries.disturb("duplicate", amount=2, every=2)
            sandbox.sandbox.deliveries.disturb(Does.REORDER, amount=4, endpoint=endpoint["id"])
            sandbox.sandbox.deliveries.pause()
            customers(sandbox.sandbox, "abcdefgh")
            sandbox.sandbox.deliveries.resume()
            await settled(sandbox.sandbox)
            orders.append(arrived(inbox))
    assert orders[0] == orders[1] != orders[2]
    counts = Counter(orders[0])
    assert all(counts[name] == 1 for name in "aceg")
    assert all(counts[name] in (2, 3) for name in "bdfh")
    assert list(orders[0]) != sorted(orders[0])


async def test_a_group_that_does_not_become_full_is_sent_after_a_while(sandbox: SandboxServer) -> None:
    async with receiver() as inbox:
        sandbox.sandbox.register_webhook(inbox.url)
        sandbox.sandbox.deliveries.disturb("reorder", amount=100)
        customers(sandbox.sandbox, "abc")
        await settled(sandbox.sandbox)
        assert sorted(arrived(inbox)) == ["a", "b", "c"]


async def test_what_is_dropped_comes_only_when_it_is_redelivered(
    sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    async with receiver() as inbox:
        sandbox.sandbox.register_webhook(inbox.url)
        sandbox.sandbox.deliveries.disturb("drop", every=2, times=2)
        customers(sandbox.sandbox, "abcdef")
        await settled(sandbox.sandbox)
        assert sorted(arrived(inbox)) == list("acef")
        lost = sandbox.sandbox.events()[1]
        assert lost["pending_webhooks"] == 1
        answer = await browser.post(f"{sandbox.url}/sandbox/events/{lost['id']}/redeliver")
        assert answer.json() == {"deliveries": 1}
        await settled(sandbox.sandbox)
        assert arrived(inbox)[-1] == "b"
        assert (await browser.post(f"{sandbox.url}/sandbox/events/evt_none/redeliver")).status_code == 404


async def test_a_knob_strikes_only_its_types_and_its_endpoint(sandbox: SandboxServer) -> None:
    async with receiver() as mine, receiver() as other:
        endpoint = sandbox.sandbox.register_webhook(mine.url)
        sandbox.sandbox.register_webhook(other.url)
        sandbox.sandbox.deliveries.disturb("drop", types=["customer.created"], endpoint=endpoint["id"])
        customers(sandbox.sandbox, "a")
        sandbox.sandbox.emit("customer.deleted", shapes.customer("cus_a", 1, {}))
        await settled(sandbox.sandbox)
        assert mine.types() == ["customer.deleted"]
        assert sorted(other.types()) == ["customer.created", "customer.deleted"]


@pytest.mark.parametrize(
    ("does", "amount", "complaint"),
    [("wrong_signature", 1, "No signatures"), ("stale", 600, "outside the tolerance")],
)
async def test_a_bad_first_try_is_refused_and_the_next_one_is_right(
    client: stripe.StripeClient, sandbox: SandboxServer, does: str, amount: float, complaint: str
) -> None:
    async with receiver(400, 200) as inbox:
        secret = sandbox.sandbox.register_webhook(inbox.url)["secret"]
        sandbox.sandbox.deliveries.disturb(does, amount=amount, times=1)
        customers(sandbox.sandbox, "a")
        await settled(sandbox.sandbox)
        bad, good = inbox.got
        with pytest.raises(stripe.SignatureVerificationError, match=complaint):
            client.construct_event(*bad, secret)
        assert client.construct_event(*good, secret).type == "customer.created"


async def test_a_delayed_delivery_is_overtaken(sandbox: SandboxServer) -> None:
    async with receiver() as inbox:
        sandbox.sandbox.register_webhook(inbox.url)
        sandbox.sandbox.deliveries.disturb("delay", amount=0.3, times=1)
        customers(sandbox.sandbox, "ab")
        await settled(sandbox.sandbox)
        assert arrived(inbox) == "ba"


async def test_nothing_is_delivered_while_deliveries_are_paused(
    sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    async with receiver() as inbox:
        sandbox.sandbox.register_webhook(inbox.url)
        await browser.post(f"{sandbox.url}/sandbox/deliveries/pause")
        customers(sandbox.sandbox, "ab")
        await asyncio.sleep(0.1)
        state = (await browser.get(f"{sandbox.url}/sandbox/deliveries")).json()
        assert (inbox.got, state["paused"], state["waiting"]) == ([], True, 2)
        await browser.post(f"{sandbox.url}/sandbox/deliveries/resume")
        await settled(sandbox.sandbox)
        assert sorted(arrived(inbox)) == ["a", "b"]


async def test_knobs_are_set_and_taken_back_by_the_control_routes_and_the_form(
    sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    disturb, calm = (f"{sandbox.url}/sandbox/deliveries/{name}" for name in ("disturb", "calm"))
    typed = {"does": "drop", "types": "customer.created, customer.updated", "every": "3", "times": "", "amount": ""}
    state = (await browser.post(disturb, data=typed)).json()
    assert state["knobs"] == [
        {
            "does": "drop",
            "amount": 1.0,
            "types": ["customer.created", "customer.updated"],
            "endpoint": None,
            "every": 3,
            "times": None,
        }
    ]
    for wrong in ({"does": "explode"}, {"does": "drop", "every": "0"}, {"does": "drop", "amount": "much"}):
        assert (await browser.post(disturb, data=wrong)).status_code == 400
    told = (await browser.post(disturb, data={"amount": "3"})).json()["error"]["message"]
    assert told.startswith("does is one of duplicate, reorder, delay, drop, wrong_signature, stale, not ''")
    page = await browser.get(f"{sandbox.url}/sandbox/")
    assert "every 3 of customer.created, customer.updated" in page.text
    sent = await browser.post(calm, data={"seed": "5"}, headers={"Accept": "text/html"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/sandbox/")
    assert list(sandbox.sandbox.deliveries.knobs) == []


def test_a_knob_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"amount": 0}, {"every": 0}, {"times": 0}):
        with pytest.raises(ValueError, match="positive"):
            Knob(Does.DROP, **wrong)


def test_knobs_add_up_and_a_drop_ends_it() -> None:
    knobs = Knobs()
    knobs.add(Knob(Does.DELAY, amount=2))
    knobs.add(Knob(Does.STALE, amount=400))
    plan = knobs.plan("customer.created", "we_1")
    assert (plan.copies, plan.delay, plan.fault) == (1, 2, "stale 400")
    knobs.add(Knob(Does.DROP))
    assert knobs.plan("customer.created", "we_1").copies == 0

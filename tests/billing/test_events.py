"""S28: what an operator sees of events, and working them again."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.billing import EventStatus
from tallystick.billing.errors import UnknownEvent
from tallystick.domain.account import EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.errors import InvalidInput
from tests.billing.conftest import Shop, make_shop, seed
from tests.cli.test_commands import SETTINGS
from tests.conftest import PACK_PRICE, PLUS_PRICE

ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from tallystick.cli import app
said = []
for words in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            app(["events", *words.split()])
        except SystemExit as ended:
            code = ended.code
    said.append((code, out.getvalue()))
print(json.dumps(said))
"""
"""Several commands in one process: each would take seconds to start."""


async def park(shop: Shop) -> str:
    """An event that is parked, because nobody knows its purchase, and whose reason is mended by now."""
    await shop.sql("UPDATE purchases SET id = id || '_gone', checkout_session_id = NULL WHERE status = 'open'")
    await shop.deliver()
    (parked,) = await shop.billing.latest_events(10, EventStatus.PARKED)
    about = (await shop.billing.event_story(parked.id)).object_id
    await shop.sql(
        f"UPDATE purchases SET id = replace(id, '_gone', ''), checkout_session_id = '{about}' WHERE status = 'open'"
    )
    return parked.id


async def test_s28_a_parked_event_is_replayed_and_however_often_takes_effect_once(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    parked = await park(shop)
    with pytest.raises(UnknownEvent, match="evt_none"):
        await shop.billing.replay_events([parked, "evt_none"])
    assert (await shop.account()).bonus == 0
    (done,) = await shop.billing.replay_parked_events()
    assert (done.id, done.status, done.last_error, done.attempts) == (parked, EventStatus.DONE, None, 1)
    assert (done.account_id, done.purchase_id) == ("acme", purchase.id)
    assert await shop.billing.replay_parked_events() == []
    every = [event.id for event in await shop.billing.latest_events(100)]
    again = await asyncio.gather(*(shop.billing.replay_events(every) for _ in range(3)))
    assert [event.id for event in again[0]] == every
    await shop.deliver([])
    assert (await shop.account()).bonus == 200
    kept = {event.status for event in await shop.billing.latest_events(100)}
    assert kept <= {EventStatus.DONE, EventStatus.IGNORED}


async def test_s28_an_event_is_found_and_tells_what_followed_from_it(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    await shop.open("other")
    await shop.buy("other")
    before = shop.clock()
    await shop.deliver()
    billing, kind = shop.billing, "checkout.session.completed"
    assert len(await billing.latest_events(10, type=kind)) == 2
    (event,) = await billing.latest_events(10, EventStatus.DONE, type=kind, account_id="acme", since=before)
    assert await billing.latest_events(10, since=shop.clock() + timedelta(hours=1)) == []
    newest = await billing.latest_events(100)
    assert newest == sorted(newest, key=lambda event: event.received_at, reverse=True)
    assert await billing.latest_events(3) == newest[:3]
    story = await billing.event_story(event.id)
    assert (story.event, story.object_id) == (event, purchase.checkout_session_id)
    assert (story.purchase and story.purchase.id, event.purchase_id) == (purchase.id, purchase.id)
    assert [(entry.kind, entry.amount) for entry in story.entries] == [(EntryKind.BONUS_GRANTED, 200)]
    assert json.loads(story.payload)["id"] == event.id
    with pytest.raises(UnknownEvent):
        await billing.event_story("evt_none")


async def test_s28_a_parked_event_that_somebody_has_dealt_with_rests_and_can_still_be_replayed(shop: Shop) -> None:
    await shop.open()
    await shop.buy()
    parked = await park(shop)
    (before,) = await shop.billing.latest_events(9, EventStatus.PARKED)
    for ids, reason in (([parked, "evt_none"], "x"), ([parked], " "), ([parked], "\x00")):
        with pytest.raises((UnknownEvent, InvalidInput)):
            await shop.billing.dismiss_events(ids, reason)
    (dismissed,) = await shop.billing.dismiss_events([parked], "Refunded at Stripe.")
    assert dismissed.status is EventStatus.DISMISSED
    assert dismissed.last_error == f"{before.last_error} Dismissed: Refunded at Stripe."
    assert await shop.billing.latest_events(9, EventStatus.PARKED) == []
    with pytest.raises(InvalidInput, match=f"{parked} is dismissed"):
        await shop.billing.dismiss_events([parked], "Again")
    # That Stripe sends it again changes nothing: it has been dealt with.
    (event,) = [each for each in shop.sandbox.events() if each["id"] == parked]
    await shop.deliver([event])
    assert (await shop.account()).bonus == 0
    (done,) = await shop.billing.replay_events([parked])
    assert (done.status, done.last_error, (await shop.account()).bonus) == (EventStatus.DONE, None, 200)


async def test_events_are_listed_shown_and_replayed_at_a_shell(
    sqlite_url: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    async with SandboxServer(Sandbox()) as server, make_shop(sqlite_url, catalogue, server) as shop:
        seed(server.sandbox)
        await shop.open()
        purchase = await shop.buy()
        parked = await park(shop)
        await shop.open("other")
        await shop.buy("other")
        await shop.sql("DELETE FROM purchases WHERE account_id = 'other'")
        await shop.deliver()
        (hopeless,) = [e.id for e in await shop.billing.latest_events(9, EventStatus.PARKED) if e.id != parked]
        await shop.open("third")
        await shop.buy("third")
        await shop.deliver()
        await shop.sql("UPDATE purchases SET paid_minor = 300 WHERE account_id = 'third'")
        kind = "checkout.session.completed"
        (discounted,) = await shop.billing.latest_events(9, type=kind, account_id="third")
        settings = {
            **SETTINGS,
            "DATABASE_URL": sqlite_url,
            "STRIPE_API_BASE": shop.url,
            "STRIPE_CREDIT_PACK_200_PRICE_ID": PACK_PRICE,
            "STRIPE_PLUS_PRICE_ID": PLUS_PRICE,
        }
        words = [
            "list --state parked",
            "list --json --limit 1",
            f"show {parked}",
            "replay",
            f"replay {parked} evt_none",
            "replay --parked --json",
            f"show {parked} --json",
            "list --state refused",
            f"show {discounted.id}",
            "list --since yesterday",
            "list --since 2026-01-01T00:00+01:00 --type invoice.paid --json",
            f"dismiss {hopeless} --reason Refunded",
            f"show {hopeless}",
        ]
        answer = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", ONE_AFTER_ANOTHER, *words],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "COLUMNS": "140", **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        said = json.loads(answer.stdout)
        assert [code for code, _ in said] == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0]
        table, listed, shown, _, _, replayed, told, refused, cheaper, _, late, rests, why = (text for _, text in said)
        assert parked in table
        assert "Checkout session" in table
        assert len(json.loads(listed)["events"]) == 1
        assert purchase.checkout_session_id in shown
        assert '"checkout.session.completed"' in shown
        assert "say --parked" in answer.stderr
        assert "no such event here: evt_none" in answer.stderr
        # It is JSON alone, though it is logged that one was parked again.
        assert "event_parked" in answer.stderr
        ended = {event["id"]: event["status"] for event in json.loads(replayed)["events"]}
        assert ended == {parked: "done", hopeless: "parked"}
        assert (json.loads(told)["purchase_id"], json.loads(told)["entries"][0]["amount"]) == (purchase.id, 200)
        assert "No such events" in refused
        assert "200 for 3.00 USD" in cheaper
        assert "--since is a day like 2026-11-01" in answer.stderr
        assert json.loads(late)["events"] == []
        assert "dismissed" in rests
        assert "Dismissed: Refunded" in why
        assert (await shop.account()).bonus == 200

"""`stripe doctor` against the sandbox, through the real SDK: all is well after a set-up, and every check can fail."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from stripe_sandbox import SandboxServer
from tallystick.billing import HANDLED_EVENTS, Doctor, Finding, Setup, State, StripeApi
from tallystick.billing.diagnosis import Identity, diagnose
from tallystick.billing.inbox_table import Arrival, EventStatus, InboxTable, Outcome
from tallystick.billing.refusals import Refusals
from tallystick.clock import Clock, system_clock
from tallystick.database.engine import Database
from tests.billing.setting_up import WEBHOOK_URL, make_destination, selling, set_up, settings

SECRET = "whsec_doctor"


@pytest.fixture
async def environment(server: SandboxServer) -> dict[str, str]:
    """What `stripe setup` printed."""
    return await set_up(server.url)


async def examine(
    url: str, database: str, env: dict[str, str], clock: Clock = system_clock, **changed: Any
) -> dict[str, Finding]:
    """All findings by the first word of their check; prices by their settings."""
    options = {"webhook_secrets": (SECRET,), **changed}
    catalogue = options.pop("catalogue", None) or selling()
    problem = options.pop("problem", None)
    given = settings(url, **options)
    api = StripeApi(given)
    try:
        setup = Setup(given, api, catalogue, env, HANDLED_EVENTS)
        found = await Doctor(setup, api, database, clock, problem).examine()
    finally:
        await api.close()
    assert len({finding.check for finding in found}) == len(found)
    for finding in found:
        assert (finding.to_do is None) == (finding.state is State.OK)
    return {finding.check: finding for finding in found}


def not_well(found: dict[str, Finding]) -> dict[str, State]:
    return {check: finding.state for check, finding in found.items() if finding.state is not State.OK}


async def test_after_a_set_up_all_is_well_and_nothing_is_changed(
    server: SandboxServer, sqlite_url: str, environment: dict[str, str]
) -> None:
    before = len(server.sandbox.events())
    found = await examine(server.url, sqlite_url, environment)
    assert not_well(found) == {}
    assert len(found) == 15
    assert len(server.sandbox.events()) == before


async def test_before_a_set_up_it_names_each_setting_and_what_makes_it(
    server: SandboxServer, sqlite_url: str
) -> None:
    found = await examine(server.url, sqlite_url, {}, webhook_secrets=(), problem="SECRET_KEY is not set")
    assert not_well(found) == {
        "settings": State.FAILED,
        "price of PLUS, 19.00 USD a month": State.FAILED,
        "price of PLUS, 190.00 USD a year": State.FAILED,
        "price of 200 bonus credits, 5.99 USD once": State.FAILED,
        "signing secret": State.FAILED,
        "endpoint": State.FAILED,
        "customer portal": State.WARNING,
    }
    assert "$" not in found["price of PLUS, 19.00 USD a month"].what
    for finding in found.values():
        if finding.state is not State.OK and finding.check != "settings":
            assert "stripe setup" in str(finding.to_do)


async def test_a_key_that_stripe_does_not_know_is_told_once_and_the_rest_is_not_looked_at(
    server: SandboxServer, sqlite_url: str, environment: dict[str, str]
) -> None:
    found = await examine(server.url, sqlite_url, environment, secret_key="sk_nonsense")
    assert found["key"].state is State.FAILED
    assert "API keys" in found["key"].what
    assert {state for check, state in not_well(found).items() if check not in ("key", "account", "clock")} == {
        State.UNSEEN
    }
    assert found["database"].state is State.OK


async def test_stripe_that_does_not_answer_is_told_and_the_database_is_looked_at_all_the_same(
    sqlite_url: str,
) -> None:
    found = await examine("http://127.0.0.1:9", sqlite_url, {})
    assert (found["key"].state, found["key"].what) == (State.FAILED, "Stripe did not answer in time.")
    assert (found["database"].state, found["deliveries"].state) == (State.OK, State.UNSEEN)


async def test_a_restricted_key_is_told_what_it_may_not_see_and_that_is_no_failure(
    server: SandboxServer, sqlite_url: str, environment: dict[str, str]
) -> None:
    for path in ("/v1/account", "/v1/webhook_endpoints", "/v1/prices", "/v1/events"):
        server.sandbox.outages.fail("forbidden", path=path, times=None)
    found = await examine(server.url, sqlite_url, environment)
    assert set(not_well(found).values()) == {State.UNSEEN}
    assert set(not_well(found)) > {"account", "endpoint", "deliveries", "customer portal"}
    assert found["clock"].state is State.OK


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (timedelta(seconds=10), State.OK, "within"),
        (timedelta(seconds=-60), State.WARNING, r"(5\d|6\d) s behind"),
        (timedelta(minutes=4), State.FAILED, r"2[34]\d s ahead of"),
    ],
)
async def test_s26_a_clock_that_would_refuse_webhooks_is_found(
    server: SandboxServer, sqlite_url: str, ahead: timedelta, state: State, words: str
) -> None:
    found = await examine(server.url, sqlite_url, {}, clock=lambda: system_clock() + ahead)
    assert found["clock"].state is state
    assert re.search(words, found["clock"].what)


async def test_prices_that_are_gone_archived_or_do_not_fit_are_told_apart(
    server: SandboxServer, client: stripe.StripeClient, sqlite_url: str, environment: dict[str, str]
) -> None:
    await client.v1.prices.update_async(environment["PLUS_YEARLY"], {"active": False})
    pack = await client.v1.prices.retrieve_async(environment["PACK"])
    await client.v1.products.update_async(str(pack.product), {"active": False})
    wrong = {**environment, "PLUS": "price_ofAnotherMode"}
    found = await examine(server.url, sqlite_url, wrong)
    assert (
        "PLUS names price_ofAnotherMode, which is not there in test mode"
        in found["price of PLUS, 19.00 USD a month"].what
    )
    assert "archived" in found["price of PLUS, 190.00 USD a year"].what
    assert f"product {pack.product}, which is archived" in found["price of 200 bonus credits, 5.99 USD once"].what
    dearer = await examine(server.url, sqlite_url, environment, catalogue=selling(plus="29.00 USD"))
    assert "it comes to 19.00 USD instead of 29.00 USD" in dearer["price of PLUS, 29.00 USD a month"].what


async def test_an_endpoint_that_is_off_lacks_events_comes_twice_or_in_another_version_is_found(
    server: SandboxServer, client: stripe.StripeClient, sqlite_url: str, environment: dict[str, str]
) -> None:
    (endpoint,) = (await client.v1.webhook_endpoints.list_async()).data
    change = client.v1.webhook_endpoints.update_async
    await change(endpoint.id, {"disabled": True})
    off = await examine(server.url, sqlite_url, environment)
    assert (off["endpoint"].state, "switched off" in off["endpoint"].what) == (State.FAILED, True)
    await change(endpoint.id, {"disabled": False, "enabled_events": ["invoice.paid"]})
    few = await examine(server.url, sqlite_url, environment)
    assert (few["endpoint"].state, "does not send checkout.session" in few["endpoint"].what) == (State.FAILED, True)
    await change(endpoint.id, {"enabled_events": ["*"]})
    assert not_well(await examine(server.url, sqlite_url, environment)) == {}
    other: Any = {"url": f"{WEBHOOK_URL}/", "enabled_events": ["*"], "api_version": "2025-03-31.basil"}
    await client.v1.webhook_endpoints.create_async(other)
    twice = await examine(server.url, sqlite_url, environment)
    assert not_well(twice) == {"endpoint": State.WARNING, "API version": State.WARNING}
    assert "2025-03-31.basil" in twice["API version"].what


async def test_of_an_endpoint_without_a_version_it_is_said_which_one_its_events_are_in(
    server: SandboxServer, client: stripe.StripeClient, sqlite_url: str, environment: dict[str, str]
) -> None:
    (endpoint,) = (await client.v1.webhook_endpoints.list_async()).data
    await client.v1.webhook_endpoints.delete_async(endpoint.id)
    params: Any = {"url": WEBHOOK_URL, "enabled_events": list(HANDLED_EVENTS)}
    made = await client.v1.webhook_endpoints.create_async(params)
    found = await examine(server.url, sqlite_url, environment)
    assert not_well(found) == {"API version": State.WARNING}
    (latest,) = (await client.v1.events.list_async({"limit": 1})).data
    version = found["API version"]
    assert f"{made.id} has no API version of its own" in version.what
    assert f"the account's default version (Stripe's latest event is in {latest.api_version})" in version.what
    assert "tallystick stripe setup --new-secret" in (version.to_do or "")
    server.sandbox.outages.fail("forbidden", path="/v1/events", times=None)
    unseen = await examine(server.url, sqlite_url, environment)
    assert "dashboard shows which that is" in unseen["API version"].what


async def test_an_event_destination_is_judged_as_an_endpoint_is(
    server: SandboxServer, client: stripe.StripeClient, sqlite_url: str, environment: dict[str, str]
) -> None:
    destinations, endpoints = client.v2.core.event_destinations, client.v1.webhook_endpoints
    id = await make_destination(client)
    both = await examine(server.url, sqlite_url, environment)
    assert (not_well(both), f"and {id} send what is needed" in both["endpoint"].what) == ({}, True)
    (endpoint,) = (await endpoints.list_async()).data
    await endpoints.delete_async(endpoint.id)
    alone = await examine(server.url, sqlite_url, environment)
    assert (not_well(alone), alone["endpoint"].what.startswith(id)) == ({}, True)
    assert "Events come thin" in alone["API version"].what
    await destinations.update_async(id, {"enabled_events": ["v1.invoice.paid"]})
    few = await examine(server.url, sqlite_url, environment)
    assert (few["endpoint"].state, "does not send checkout.session" in few["endpoint"].what) == (State.FAILED, True)
    await destinations.disable_async(id)
    off = await examine(server.url, sqlite_url, environment)
    assert (off["endpoint"].state, "switched off" in off["endpoint"].what) == (State.FAILED, True)
    old: Any = {"event_payload": "snapshot", "snapshot_api_version": "2025-03-31.basil"}
    await make_destination(client, **old)
    assert not_well(await examine(server.url, sqlite_url, environment)) == {"API version": State.WARNING}
    await make_destination(client, **old)
    twice = await examine(server.url, sqlite_url, environment)
    assert not_well(twice) == {"endpoint": State.WARNING, "API version": State.WARNING}
    server.sandbox.outages.fail("forbidden", path="/v2/core/event_destinations", times=None)
    unseen = await examine(server.url, sqlite_url, environment)
    assert not_well(unseen) == {"endpoint": State.UNSEEN, "API version": State.UNSEEN}
    assert "rak_" in unseen["endpoint"].what


async def test_an_address_that_stripe_cannot_reach_is_a_warning_with_what_to_do_while_developing(
    server: SandboxServer, sqlite_url: str, environment: dict[str, str]
) -> None:
    given = settings(server.url, webhook_secrets=(SECRET,))
    api = StripeApi(given)
    setup = Setup(given, api, selling(), environment, HANDLED_EVENTS)
    seen = await Doctor(setup, api, sqlite_url, system_clock, None).look()
    await api.close()
    found = {finding.check: finding for finding in diagnose(seen, replace(setup.wanted(), webhook_url=None))}
    assert found["endpoint"].state is State.WARNING
    assert "stripe listen" in str(found["endpoint"].to_do)
    live = replace(setup.wanted(), mode="live")
    account = {"id": "acct_1", "charges_enabled": False}
    closed = diagnose(replace(seen, identity=Identity(account, 0.0)), live)
    assert [finding.check for finding in closed if finding.state is State.FAILED] == ["account"]


async def test_a_database_that_is_not_there_or_not_migrated_is_found(
    server: SandboxServer, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    old = await examine(server.url, f"sqlite:///{folder}/new.db", environment)
    assert (old["database"].state, old["database"].to_do) == (State.FAILED, "tallystick migrate")
    assert list(folder.iterdir()) == [], "to look makes nothing"
    gone = await examine(server.url, f"sqlite:///{folder}/no/folder/new.db", environment)
    assert (gone["database"].state, gone["webhooks"].state) == (State.FAILED, State.UNSEEN)
    assert "there is no folder" in gone["database"].what


async def test_s28_parked_and_waiting_webhooks_are_counted(
    server: SandboxServer, database_url: str, environment: dict[str, str]
) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    database = Database.connect(database_url)
    table = InboxTable(database)

    def arrival(id: str, due_at: datetime) -> Arrival:
        return Arrival(id, "invoice.paid", None, json.dumps({"id": id}), long_ago, due_at)

    await table.write([arrival("evt_waits", long_ago), arrival("evt_young", datetime.now(UTC))])
    waits = await examine(server.url, database_url, environment)
    assert not_well(waits) == {"webhooks": State.WARNING}
    assert waits["webhooks"].what.startswith("1 webhook(s)")
    (leased,) = await table.lease(1, datetime.now(UTC), datetime.now(UTC))
    await table.write([Outcome(leased.id, leased.lease, EventStatus.PARKED, datetime.now(UTC))])
    await database.close()
    parked = await examine(server.url, database_url, environment)
    assert not_well(parked) == {"webhooks": State.FAILED}
    assert "events list" in str(parked["webhooks"].to_do)


async def test_s26_webhooks_that_were_refused_lately_are_told_with_what_that_means(
    server: SandboxServer, sqlite_url: str, environment: dict[str, str]
) -> None:
    database = Database.connect(sqlite_url)
    long_ago = Refusals(database, lambda: system_clock() - timedelta(days=3))
    long_ago.count("signature_stale")
    await long_ago.keep()
    assert not_well(await examine(server.url, sqlite_url, environment)) == {}
    lately = Refusals(database, system_clock)
    for reason in ("signature_invalid", "signature_invalid", "unknown_purchase"):
        lately.count(reason)
    await lately.keep()
    await database.close()
    found = await examine(server.url, sqlite_url, environment)
    assert not_well(found) == {"refused webhooks": State.WARNING}
    assert found["refused webhooks"].what == "In the last day: 2 as signature_invalid."
    assert "STRIPE_WEBHOOK_SECRET" in str(found["refused webhooks"].to_do)


async def test_s28_events_that_stripe_could_not_deliver_are_found_unless_they_are_here(
    server: SandboxServer, client: stripe.StripeClient, sqlite_url: str, environment: dict[str, str]
) -> None:
    params: Any = {
        "mode": "payment",
        "line_items": [{"price": environment["PACK"], "quantity": 1}],
        "success_url": "https://credits.shop.example/",
    }
    session = await client.v1.checkout.sessions.create_async(params)
    await client.v1.checkout.sessions.expire_async(session.id)
    (event,) = server.sandbox.events("checkout.session.expired")
    assert not_well(await examine(server.url, sqlite_url, environment)) == {}, "it may be on its way"

    def later() -> datetime:
        return system_clock() + timedelta(minutes=20)

    missed = await examine(server.url, sqlite_url, environment, clock=later)
    assert missed["deliveries"].state is State.FAILED
    assert "reconcile --apply" in str(missed["deliveries"].to_do)
    database = Database.connect(sqlite_url)
    now = system_clock()
    await InboxTable(database).write([Arrival(event["id"], event["type"], None, "{}", now, now)])
    await database.close()
    assert (await examine(server.url, sqlite_url, environment, clock=later))["deliveries"].state is State.OK

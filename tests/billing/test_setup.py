"""`stripe setup` against the sandbox, through the real SDK: what it makes, finds, changes and leaves alone."""

import sqlite3
from dataclasses import replace
from typing import Any

import pytest
import stripe

from stripe_sandbox import SandboxServer
from tallystick.billing import HANDLED_EVENTS, SetupStopped, StripeApi, can_be_reached, writes
from tallystick.billing.stripe_api import API_VERSION
from tallystick.domain.catalogue import Catalogue, Plan
from tests.billing.setting_up import (
    BASE_URL,
    WEBHOOK_URL,
    made,
    make_destination,
    prices,
    selling,
    set_up,
    setting_up,
    settings,
    state,
)

ONE_OF_EACH = {"product": 2, "price": 3, "webhook_endpoint": 1, "billing_portal.configuration": 1}


async def steps(url: str, *args: Any, **options: Any) -> list[str]:
    new_secret = options.pop("new_secret", False)
    async with setting_up(url, *args, **options) as setup:
        return [str(step) for step in (await setup.plan(new_secret=new_secret)).steps]


async def notices(url: str, *args: Any, **options: Any) -> list[tuple[str, bool]]:
    async with setting_up(url, *args, **options) as setup:
        return [(notice.what, notice.needed) for notice in (await setup.plan()).notices]


async def the_portal(client: stripe.StripeClient) -> stripe.billing_portal.Configuration:
    """The one configuration, with what Stripe sends only when it is asked for."""
    expand: Any = {"expand": ["data.features.subscription_update.products"]}
    (found,) = (await client.v1.billing_portal.configurations.list_async(expand)).data
    return found


async def test_an_empty_account_gets_what_the_catalogue_needs(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    environment = await set_up(server.url)
    found = await prices(client)
    assert {key: (p.unit_amount, p.currency, p.recurring and p.recurring.interval) for key, p in found.items()} == {
        "tallystick_plan_plus_month": (1900, "usd", "month"),
        "tallystick_plan_plus_year": (19000, "usd", "year"),
        "tallystick_pack_credits_200": (599, "usd", None),
    }
    (endpoint,) = (await client.v1.webhook_endpoints.list_async()).data
    assert (endpoint.url, endpoint.api_version, endpoint.status) == (WEBHOOK_URL, API_VERSION, "enabled")
    assert sorted(endpoint.enabled_events) == sorted(HANDLED_EVENTS)
    portal = await the_portal(client)
    assert portal.default_return_url == f"{BASE_URL}/settings"
    (sold,) = portal.features.subscription_update.products or []
    assert sold.prices == [found["tallystick_plan_plus_month"].id, found["tallystick_plan_plus_year"].id]
    kept = server.sandbox.store.get(endpoint.id)
    assert environment == {
        "PLUS": found["tallystick_plan_plus_month"].id,
        "PLUS_YEARLY": found["tallystick_plan_plus_year"].id,
        "PACK": found["tallystick_pack_credits_200"].id,
        "STRIPE_WEBHOOK_SECRET": kept and kept["_secret"],
    }
    assert made(server.sandbox) == ONE_OF_EACH


async def test_a_second_run_finds_all_of_it_with_and_without_the_lines(server: SandboxServer) -> None:
    environment = await set_up(server.url)
    before = state(server.sandbox)
    assert await steps(server.url, environment, webhook_secrets=("whsec_1",)) == []
    assert await notices(server.url, environment, webhook_secrets=("whsec_1",)) == []
    again = await set_up(server.url)
    # The secret is shown once; the prices are found by their lookup keys.
    assert again == {name: value for name, value in environment.items() if name != "STRIPE_WEBHOOK_SECRET"}
    ((what, needed),) = await notices(server.url)
    assert ("shown when it was made" in what, needed) == (True, True)
    assert state(server.sandbox) == before


async def test_planning_changes_nothing(server: SandboxServer) -> None:
    planned = await steps(server.url)
    assert len(planned) == 7
    assert any("make a price for 'PLUS': 190.00 USD a year (tallystick_plan_plus_year)" in step for step in planned)
    assert state(server.sandbox) == []
    assert server.sandbox.events() == []


async def test_a_changed_amount_makes_a_new_price_and_the_old_one_goes_when_nothing_names_it(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    first = await set_up(server.url)
    dearer = selling(plus="25.00 USD", pack="6.99 USD")
    second = await set_up(server.url, first, catalogue=dearer)
    found = await prices(client)
    assert found["tallystick_pack_credits_200"].id == second["PACK"] != first["PACK"]
    assert found["tallystick_plan_plus_month"].unit_amount == 2500
    assert second["PLUS_YEARLY"] == first["PLUS_YEARLY"]
    # Until the service has the new id, it sells under the old one.
    assert (await client.v1.prices.retrieve_async(first["PACK"])).active
    assert any(
        "stays on sale until PACK names" in what for what, _ in await notices(server.url, first, catalogue=dearer)
    )
    assert await steps(server.url, second, catalogue=dearer) == [
        f"archive {first['PACK']}, a former price of '200 bonus credits'"
    ]
    await set_up(server.url, second, catalogue=dearer)
    assert not (await client.v1.prices.retrieve_async(first["PACK"])).active
    # Who subscribed under the old price goes on paying it.
    assert (await client.v1.prices.retrieve_async(first["PLUS"])).active
    assert await steps(server.url, second, catalogue=dearer) == []
    portal = await the_portal(client)
    (sold,) = portal.features.subscription_update.products or []
    assert sold.prices == [second["PLUS"], second["PLUS_YEARLY"]]


async def test_an_amount_that_is_changed_back_takes_up_the_price_there_was(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    first = await set_up(server.url)
    dearer = selling(pack="6.99 USD")
    second = await set_up(server.url, await set_up(server.url, first, catalogue=dearer), catalogue=dearer)
    await set_up(server.url, second, catalogue=dearer)
    third = await set_up(server.url, second)
    assert third["PACK"] == first["PACK"]
    assert (await prices(client))["tallystick_pack_credits_200"].id == first["PACK"]
    assert made(server.sandbox)["price"] == 4
    await set_up(server.url, third)
    assert [(await client.v1.prices.retrieve_async(id)).active for id in (first["PACK"], second["PACK"])] == [
        True,
        False,
    ]


async def test_a_price_made_by_hand_is_used_and_found_again(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    server.sandbox.seed_price(price_id="price_byHand", product_name="200", unit_amount=599, currency="usd")
    environment = await set_up(server.url, {"PACK": "price_byHand"})
    assert environment["PACK"] == "price_byHand"
    assert (await prices(client))["tallystick_pack_credits_200"].id == "price_byHand"
    assert made(server.sandbox) == {**ONE_OF_EACH, "product": 1, "price": 2}
    assert (await set_up(server.url))["PACK"] == "price_byHand"


async def test_a_lookup_key_of_somebody_else_is_left_to_them(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    by_hand = await client.v1.prices.create_async(
        {"product_data": {"name": "200"}, "unit_amount": 599, "currency": "usd", "lookup_key": "mine"}
    )
    environment = await set_up(server.url, {"PACK": by_hand.id})
    assert environment["PACK"] == by_hand.id
    assert (await client.v1.prices.retrieve_async(by_hand.id)).lookup_key == "mine"


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit_amount": 499},
        {"currency": "eur"},
        {"recurring": "month"},
    ],
)
async def test_a_configured_price_that_does_not_fit_is_not_used(
    server: SandboxServer, client: stripe.StripeClient, wrong: dict[str, Any]
) -> None:
    terms: dict[str, Any] = {"product_name": "x", "unit_amount": 599, "currency": "usd", **wrong}
    server.sandbox.seed_price(price_id="price_wrong", **terms)
    environment = await set_up(server.url, {"PACK": "price_wrong"})
    assert environment["PACK"] != "price_wrong"
    assert (await client.v1.prices.retrieve_async("price_wrong")).lookup_key is None


async def test_a_configured_price_that_is_not_there_is_told(server: SandboxServer) -> None:
    ((what, needed),) = [n for n in await notices(server.url, {"PACK": "price_gone"}) if "price_gone" in n[0]]
    assert ("PACK names price_gone, which is not there in test mode" in what, needed) == (True, False)


async def test_what_was_archived_by_hand_comes_back(server: SandboxServer, client: stripe.StripeClient) -> None:
    environment = await set_up(server.url)
    await client.v1.prices.update_async(environment["PACK"], {"active": False})
    await client.v1.products.update_async("tallystick_pack_credits_200", {"active": False})
    assert await set_up(server.url, environment) == environment
    assert (await client.v1.prices.retrieve_async(environment["PACK"])).active
    assert (await client.v1.products.retrieve_async("tallystick_pack_credits_200")).active
    assert made(server.sandbox) == ONE_OF_EACH


async def test_the_default_price_of_a_product_is_left_as_it_is(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    first = await set_up(server.url)
    await client.v1.products.update_async("tallystick_pack_credits_200", {"default_price": first["PACK"]})
    dearer = selling(pack="6.99 USD")
    second = await set_up(server.url, first, catalogue=dearer)
    assert await steps(server.url, second, catalogue=dearer) == []


async def test_a_product_of_ours_follows_the_catalogue_s_title_another_does_not(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    server.sandbox.seed_price(price_id="price_byHand", product_name="My name", unit_amount=599, currency="usd")
    environment = await set_up(server.url, {"PACK": "price_byHand"})
    await set_up(server.url, environment, catalogue=selling(title="Plus, renamed"))
    names = sorted(product.name for product in (await client.v1.products.list_async()).data)
    assert names == ["My name", "Plus, renamed"]


async def test_a_plan_whose_catalogue_has_no_amount_is_left_to_the_operator(server: SandboxServer) -> None:
    catalogue = Catalogue([Plan("free", 25), Plan("plus", 500, stripe_price="$PLUS")])
    ((what, needed),) = await notices(server.url, {}, catalogue)
    assert ("does not say what 'PLUS' comes to by the month" in what, needed) == (True, True)
    server.sandbox.seed_price(
        price_id="price_plus", product_name="P", unit_amount=700, currency="usd", recurring="month"
    )
    assert (await set_up(server.url, {"PLUS": "price_plus"}, catalogue=catalogue))["PLUS"] == "price_plus"


async def test_a_price_that_stands_in_the_catalogue_is_told_apart(server: SandboxServer) -> None:
    (pack,) = selling().packs
    object.__setattr__(pack, "stripe_price", "price_old")
    catalogue = Catalogue([Plan("free", 25)], [pack])
    async with setting_up(server.url, {}, catalogue) as setup:
        done = await setup.apply(await setup.plan())
        ((offer, price),) = setup.catalogue_lines(done)
        assert offer.place == "stripe_price of '200 bonus credits' in the catalogue"
        assert price.startswith("price_")
        assert list(setup.environment_lines(done)) == ["STRIPE_WEBHOOK_SECRET"]


# The webhook endpoint


async def test_an_endpoint_is_brought_to_the_events_that_are_handled_and_switched_on(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    hook: Any = {"url": f"{WEBHOOK_URL}/", "enabled_events": ["*"], "api_version": API_VERSION}
    endpoint = await client.v1.webhook_endpoints.create_async(hook)
    await client.v1.webhook_endpoints.update_async(endpoint.id, {"disabled": True})
    environment = await set_up(server.url)
    assert "STRIPE_WEBHOOK_SECRET" not in environment
    (kept,) = (await client.v1.webhook_endpoints.list_async()).data
    assert (kept.id, kept.status) == (endpoint.id, "enabled")
    assert sorted(kept.enabled_events) == sorted(HANDLED_EVENTS)


async def test_an_endpoint_of_another_version_is_replaced_only_when_asked(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    hook: Any = {"url": WEBHOOK_URL, "enabled_events": list(HANDLED_EVENTS), "api_version": "2025-03-31.basil"}
    endpoint = await client.v1.webhook_endpoints.create_async(hook)
    environment = await set_up(server.url, webhook_secrets=("whsec_1",))
    assert "STRIPE_WEBHOOK_SECRET" not in environment
    ((what, needed),) = await notices(server.url, environment, webhook_secrets=("whsec_1",))
    assert ("2025-03-31.basil" in what, needed) == (True, False)
    replaced = await set_up(server.url, environment, new_secret=True)
    (new,) = (await client.v1.webhook_endpoints.list_async()).data
    assert (new.id != endpoint.id, new.api_version) == (True, API_VERSION)
    assert replaced["STRIPE_WEBHOOK_SECRET"].startswith("whsec_")


async def test_of_an_endpoint_without_a_version_it_is_said_which_one_its_events_are_in(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    params: Any = {"url": WEBHOOK_URL, "enabled_events": list(HANDLED_EVENTS)}
    await client.v1.webhook_endpoints.create_async(params)
    environment = await set_up(server.url, webhook_secrets=("whsec_1",))
    ((what, needed),) = await notices(server.url, environment, webhook_secrets=("whsec_1",))
    assert ("the account's default version (Stripe's latest event is in 2" in what, needed) == (True, False)
    server.sandbox.outages.fail("forbidden", path="/v1/events", times=None)
    ((what, needed),) = await notices(server.url, environment, webhook_secrets=("whsec_1",))
    assert ("dashboard shows which that is" in what, needed) == (True, False)


async def test_two_endpoints_at_one_address_are_told_and_replaced_by_one(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    hook: Any = {"url": WEBHOOK_URL, "enabled_events": list(HANDLED_EVENTS), "api_version": API_VERSION}
    for _ in range(2):
        await client.v1.webhook_endpoints.create_async(hook)
    environment = await set_up(server.url, webhook_secrets=("whsec_1",))
    ((what, _),) = await notices(server.url, environment, webhook_secrets=("whsec_1",))
    assert "every event comes twice" in what
    await set_up(server.url, environment, new_secret=True)
    assert len((await client.v1.webhook_endpoints.list_async()).data) == 1


async def test_an_endpoint_of_a_former_address_is_named(server: SandboxServer) -> None:
    environment = await set_up(server.url)
    moved = await notices(server.url, environment, base_url="https://new.shop.example", webhook_secrets=("whsec_1",))
    assert [f"sends events to {WEBHOOK_URL}." in what for what, _ in moved] == [True]


async def test_an_endpoint_that_was_deleted_is_made_anew_within_the_day(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    """The idempotency key alone would bring back the answer about the one that is gone."""
    first = await set_up(server.url)
    (endpoint,) = (await client.v1.webhook_endpoints.list_async()).data
    await client.v1.webhook_endpoints.delete_async(endpoint.id)
    second = await set_up(server.url, first)
    assert second["STRIPE_WEBHOOK_SECRET"] != first["STRIPE_WEBHOOK_SECRET"]
    assert len((await client.v1.webhook_endpoints.list_async()).data) == 1


async def test_an_event_destination_that_sends_thin_events_to_us_is_kept_and_brought_to_what_is_handled(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    destinations = client.v2.core.event_destinations
    id = await make_destination(client)
    environment = await set_up(server.url)
    assert "STRIPE_WEBHOOK_SECRET" not in environment
    assert (await client.v1.webhook_endpoints.list_async()).data == []
    ((what, needed),) = await notices(server.url, environment)
    assert (f"signing secret of {id}" in what, needed) == (True, True)
    known: Any = {"webhook_secrets": ("whsec_1",)}
    assert await notices(server.url, environment, **known) == []
    await destinations.update_async(id, {"enabled_events": ["v1.invoice.paid", "v1.customer.created"]})
    await destinations.disable_async(id)
    words = f"send exactly the {len(HANDLED_EVENTS)} events that are handled, switch it on"
    assert await steps(server.url, environment, **known) == [f"change the event destination {id}: {words}"]
    await set_up(server.url, environment, **known)
    found = await destinations.retrieve_async(id)
    assert (found.status, found.enabled_events) == ("enabled", [f"v1.{kind}" for kind in HANDLED_EVENTS])
    # Next to an endpoint that was switched off when it took that one's place, it is what is kept.
    hook: Any = {"url": WEBHOOK_URL, "enabled_events": ["*"], "api_version": "2025-03-31.basil"}
    endpoint = await client.v1.webhook_endpoints.create_async(hook)
    await client.v1.webhook_endpoints.update_async(endpoint.id, {"disabled": True})
    assert (await steps(server.url, environment, **known), await notices(server.url, environment, **known)) == (
        [],
        [],
    )
    replaced = await set_up(server.url, environment, new_secret=True, **known)
    assert replaced["STRIPE_WEBHOOK_SECRET"].startswith("whsec_")
    assert (await destinations.retrieve_async(id)).status == "enabled"
    async with setting_up(server.url, replaced, **known) as setup:
        assert [notice.what[:30] for notice in (await setup.plan(new_secret=True)).notices] == [
            f"{id} is an event destination"[:30]
        ]


async def test_an_event_destination_is_told_of_as_an_endpoint_is(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    known: Any = {"webhook_secrets": ("whsec_1",)}
    marked = {"metadata": {"tallystick": "webhook"}}
    await make_destination(client, webhook_endpoint={"url": "https://old.shop.example/hook"}, **marked)
    await make_destination(client, events_from=["@accounts"])
    told = [what for what, _ in await notices(server.url, **known)]
    assert [what.split()[1:] for what in told] == [["sends", "events", "to", "https://old.shop.example/hook."]]
    assert any("make a webhook endpoint" in step for step in await steps(server.url, **known))
    server.sandbox.outages.fail("forbidden", path="/v2/core/event_destinations", times=None)
    told = [what for what, _ in await notices(server.url, **known)]
    assert told == [
        "The key may not look at event destinations, so whether one sends events here already is not known."
    ]
    environment = await set_up(server.url, **known)
    assert await notices(server.url, environment, **known) == []
    server.sandbox.outages.clear()
    snapshot: Any = {"event_payload": "snapshot", "snapshot_api_version": "2025-03-31.basil"}
    await make_destination(client, **snapshot)
    ((what, _),) = await notices(server.url, environment, **known)
    assert "every event comes twice" in what
    (endpoint,) = (await client.v1.webhook_endpoints.list_async()).data
    await client.v1.webhook_endpoints.delete_async(endpoint.id)
    ((what, _),) = await notices(server.url, environment, **known)
    assert "2025-03-31.basil" in what


async def test_a_portal_configuration_that_was_switched_off_is_made_anew_within_the_day(
    server: SandboxServer, client: stripe.StripeClient
) -> None:
    environment = await set_up(server.url)
    (portal,) = (await client.v1.billing_portal.configurations.list_async()).data
    await client.v1.billing_portal.configurations.update_async(portal.id, {"active": False})
    await set_up(server.url, environment)
    (new,) = (await client.v1.billing_portal.configurations.list_async({"active": True})).data
    assert new.id != portal.id


@pytest.mark.parametrize(
    ("base_url", "reached"),
    [
        (BASE_URL, True),
        ("http://127.0.0.1:8000", False),
        ("http://localhost:8000", False),
        ("http://[::1]:8000", False),
        ("http://192.168.1.5", False),
        ("https://8.8.8.8", True),
        ("http://shop.test", False),
    ],
)
def test_stripe_reaches_public_addresses_alone(base_url: str, reached: bool) -> None:
    given = settings("http://127.0.0.1:1", base_url=base_url)
    assert can_be_reached(replace(given, api_base=None)) is reached
    assert can_be_reached(given)


async def test_without_a_public_address_no_endpoint_is_made_and_it_is_said_how_to_get_events(
    server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.billing.setup.can_be_reached", lambda _: False)
    environment = await set_up(server.url)
    assert "STRIPE_WEBHOOK_SECRET" not in environment
    assert made(server.sandbox)["webhook_endpoint"] == 0
    async with setting_up(server.url) as setup:
        (notice,) = (await setup.plan()).notices
    assert ("stripe listen --forward-to" in notice.to_do, notice.needed) == (True, True)
    assert await notices(server.url, webhook_secrets=("whsec_1",)) == [(notice.what, False)]


# Going wrong


@pytest.mark.parametrize(
    ("livemode", "dry_run", "apply", "does_it"),
    [
        (False, False, False, True),
        (False, True, False, False),
        (True, False, False, False),
        (True, False, True, True),
        (True, True, False, False),
    ],
)
def test_with_a_live_key_it_only_says_what_it_would_do(
    livemode: bool, dry_run: bool, apply: bool, does_it: bool
) -> None:
    assert writes(livemode=livemode, dry_run=dry_run, apply=apply) is does_it


async def test_a_step_that_fails_says_why_and_what_was_done(server: SandboxServer) -> None:
    async with setting_up(server.url) as setup:
        plan = await setup.plan()
        server.sandbox.outages.fail("forbidden", method="POST", path="/v1/webhook_endpoints", times=None)
        with pytest.raises(SetupStopped) as stopped:
            await setup.apply(plan)
    assert "rak_webhook_write" in stopped.value.message
    assert "run the same command again" in stopped.value.message
    assert len(stopped.value.done.steps) == len(plan.steps) - 1
    assert len(stopped.value.done.prices) == 3
    server.sandbox.outages.clear()
    assert len(await steps(server.url)) == 1


async def test_a_key_that_stripe_does_not_know_is_told(server: SandboxServer) -> None:
    with pytest.raises(SetupStopped, match=r"does not know the key in STRIPE_SECRET_KEY.*Nothing was changed"):
        await steps(server.url, secret_key="sk_live_1")


async def test_stripe_away_is_told(server: SandboxServer) -> None:
    server.sandbox.outages.fail("reset", times=None)
    with pytest.raises(SetupStopped, match="Stripe did not answer in time"):
        await steps(server.url)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


def dying(after: int) -> type[StripeApi]:
    """A StripeApi whose process dies after so many calls that change something; 0 is before the first."""
    writes = 0

    class Dying(StripeApi):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if not name.startswith(("create_", "update_", "delete_")):
                return found

            async def deadly(*args: Any) -> Any:
                nonlocal writes
                if after == 0:
                    raise Killed
                answer = await found(*args)
                writes += 1
                if writes == after:
                    raise Killed
                return answer

            return deadly

    return Dying


@pytest.mark.parametrize("story", ["first", "dearer", "archive", "new_secret"])
async def test_killed_at_any_call_and_run_again_it_ends_in_the_same_place(server: SandboxServer, story: str) -> None:
    """After each call that changes something, and before the first: nothing happens between those that Stripe or
    we would remember, so before one is after the last. Nothing is made twice."""
    dearer = selling(plus="25.00 USD", pack="6.99 USD")
    options: Any = {"catalogue": dearer if story in ("dearer", "archive") else selling()}
    options["new_secret"] = story == "new_secret"
    environment = {} if story == "first" else await set_up(server.url)
    if story == "archive":
        environment = await set_up(server.url, environment, catalogue=dearer)
    database = server.sandbox.store.connection
    with sqlite3.connect(":memory:") as before:
        database.backup(before)
        undisturbed = await set_up(server.url, environment, **options)
        came_to = state(server.sandbox), made(server.sandbox)
        deaths = 0
        for writes_done in range(20):
            before.backup(database)
            try:
                await set_up(server.url, environment, api=dying(writes_done), **options)
            except Killed:
                deaths += 1
            else:
                break
            again = await set_up(server.url, environment, **options)
            assert (state(server.sandbox), made(server.sandbox)) == came_to, writes_done
            # A secret that nobody has seen has to be asked for.
            assert again.keys() | {"STRIPE_WEBHOOK_SECRET"} == undisturbed.keys() | {"STRIPE_WEBHOOK_SECRET"}
    # A new endpoint takes two: the first key still has the answer about the one that was deleted.
    assert deaths == 1 + {"first": 7, "dearer": 3, "archive": 1, "new_secret": 3}[story]

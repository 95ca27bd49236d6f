"""The customer portal's configurations and sessions, as the API has them."""

from typing import Any

import pytest
import stripe

from stripe_sandbox.billing import portal_configurations
from tests.sandbox.subscribing import Shop
from tests.sandbox.visiting import features, plans


async def configure(shop: Shop, **changes: Any) -> stripe.billing_portal.Configuration:
    wanted = await features(shop, await plans(shop), **changes)
    return await shop.client.v1.billing_portal.configurations.create_async({"features": wanted})


async def test_a_configuration_is_made_found_and_changed_in_parts(shop: Shop) -> None:
    configurations = shop.client.v1.billing_portal.configurations
    wanted = await features(shop, await plans(shop))
    made = await configurations.create_async(
        {"features": wanted, "default_return_url": "https://a.test", "metadata": {"a": "1"}, "name": "Usual"}
    )
    assert made.is_default is False
    assert made.features.subscription_cancel.mode == "at_period_end"
    assert (await configurations.list_async({"active": True})).data[0].id == made.id
    assert (await configurations.list_async({"is_default": True})).data == []

    changed = await configurations.update_async(
        made.id, {"features": {"subscription_cancel": {"mode": "immediately"}}, "name": "", "active": False}
    )
    assert changed.features.subscription_cancel.mode == "immediately"
    assert changed.features.subscription_cancel.enabled
    assert changed.features.invoice_history.enabled
    assert (changed.name, changed.active) == (None, False)
    assert changed.metadata is not None
    assert changed.metadata["a"] == "1"
    assert (await configurations.list_async({"active": True})).data == []
    assert shop.types()[-2:] == ["billing_portal.configuration.created", "billing_portal.configuration.updated"]


async def test_products_are_sent_to_those_who_ask_for_them(shop: Shop) -> None:
    made = await configure(shop)
    assert "products" not in made.features.subscription_update
    configurations = shop.client.v1.billing_portal.configurations
    place = "features.subscription_update.products"
    found = await configurations.retrieve_async(made.id, {"expand": [place]})
    listed = await configurations.list_async({"expand": [f"data.{place}"]})
    for products in (
        found.features.subscription_update.products,
        listed.data[0].features.subscription_update.products,
    ):
        assert products is not None
        assert [len(product.prices) for product in products] == [2, 1]
        assert products[0].adjustable_quantity.minimum == 1


@pytest.mark.parametrize(
    ("feature", "changes", "param"),
    [
        ("customer_update", {"allowed_updates": []}, "features[customer_update][allowed_updates]"),
        ("subscription_update", {"products": ""}, "features[subscription_update][products]"),
        ("subscription_update", {"default_allowed_updates": ""}, "features[subscription_update][default_allowed"),
        ("subscription_cancel", {"mode": "never"}, "features[subscription_cancel][mode]"),
        (
            "subscription_update",
            {"products": [{"product": "prod_1", "prices": ["price_1"]}]},
            "features[subscription_update][products][0][product]",
        ),
    ],
)
async def test_a_configuration_that_cannot_work_is_refused(
    shop: Shop, feature: str, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await configure(shop, **{feature: changes})
    assert str(refused.value.param).startswith(param)
    assert (await shop.client.v1.billing_portal.configurations.list_async()).data == []


async def test_a_price_of_another_product_is_refused(shop: Shop) -> None:
    prices = await plans(shop)
    wanted = await features(shop, prices)
    wanted["subscription_update"]["products"][1]["prices"] = [prices.monthly]
    with pytest.raises(stripe.InvalidRequestError, match="does not belong to the product"):
        await shop.client.v1.billing_portal.configurations.create_async({"features": wanted})


async def test_without_a_configuration_there_is_no_session_until_a_default_is_saved(shop: Shop) -> None:
    customer = await shop.customer()
    sessions = shop.client.v1.billing_portal.sessions
    with pytest.raises(stripe.InvalidRequestError, match="No configuration provided and your test mode default"):
        await sessions.create_async({"customer": customer})
    default = portal_configurations.save_default(shop.sandbox)
    made = await sessions.create_async({"customer": customer, "return_url": "https://a.test"})
    assert (made.configuration, made.flow, made.return_url) == (default["id"], None, "https://a.test")
    assert made.url.startswith(f"{shop.server.url}/p/session/test_")
    assert shop.last("billing_portal.session.created")["data"]["object"]["id"] == made.id
    assert portal_configurations.save_default(shop.sandbox)["id"] == default["id"]
    with pytest.raises(stripe.InvalidRequestError, match="cannot deactivate the default"):
        await shop.client.v1.billing_portal.configurations.update_async(default["id"], {"active": False})


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({}, "customer", "parameter_missing"),
        ({"customer": "cus_1"}, "customer", "resource_missing"),
        ({"customer": True, "configuration": "bpc_1"}, "configuration", "resource_missing"),
        ({"customer": True, "nope": "1"}, "nope", "parameter_unknown"),
        ({"customer": True, "flow_data": {"type": "subscription_cancel"}}, "flow_data[subscription_cancel]", None),
    ],
)
async def test_a_session_that_cannot_be_is_refused(
    shop: Shop, given: dict[str, Any], param: str, code: str | None
) -> None:
    portal_configurations.save_default(shop.sandbox)
    params: Any = {**given, **({"customer": await shop.customer()} if given.get("customer") is True else {})}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.client.v1.billing_portal.sessions.create_async(params)
    assert (refused.value.param, refused.value.http_status) == (param, 400)
    assert code in (None, refused.value.code)


async def test_a_configuration_that_is_switched_off_opens_nothing(shop: Shop) -> None:
    made = await configure(shop)
    await shop.client.v1.billing_portal.configurations.update_async(made.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="not active"):
        await shop.client.v1.billing_portal.sessions.create_async(
            {"customer": await shop.customer(), "configuration": made.id}
        )


async def test_a_flow_is_told_in_full_and_needs_its_feature(shop: Shop) -> None:
    prices = await plans(shop)
    configurations = shop.client.v1.billing_portal.configurations
    made = await configurations.create_async({"features": await features(shop, prices)})
    customer = await shop.customer()
    bought = await shop.subscribe(customer, prices.monthly)
    item = bought["items"].data[0].id

    async def ask(**flow: Any) -> stripe.billing_portal.Session:
        params: Any = {"customer": customer, "configuration": made.id, "flow_data": flow}
        return await shop.client.v1.billing_portal.sessions.create_async(params)

    def change(price: str) -> Any:
        return {"subscription": bought.id, "items": [{"id": item, "price": price, "quantity": 1}]}

    session = await ask(
        type="subscription_update_confirm",
        subscription_update_confirm=change(prices.yearly),
        after_completion={"type": "redirect", "redirect": {"return_url": "https://a.test/done"}},
    )
    assert session.flow is not None
    assert session.flow.subscription_update_confirm is not None
    assert session.flow.subscription_update_confirm.items[0].price == prices.yearly
    assert session.flow.after_completion.redirect is not None
    assert session.flow.after_completion.redirect.return_url == "https://a.test/done"

    with pytest.raises(stripe.InvalidRequestError, match="nothing to confirm"):
        await ask(type="subscription_update_confirm", subscription_update_confirm=change(prices.monthly))
    other = await shop.price(500, name="NOT SOLD HERE")
    with pytest.raises(stripe.InvalidRequestError, match="not one of the portal configuration's"):
        await ask(type="subscription_update_confirm", subscription_update_confirm=change(other))
    stranger = await shop.subscribe(await shop.customer(), prices.monthly)
    with pytest.raises(stripe.InvalidRequestError, match="does not belong to the customer"):
        await ask(type="subscription_cancel", subscription_cancel={"subscription": stranger.id})
    await configurations.update_async(made.id, {"features": {"subscription_cancel": {"enabled": False}}})
    with pytest.raises(stripe.InvalidRequestError, match="subscription cancellation feature in the portal"):
        await ask(type="subscription_cancel", subscription_cancel={"subscription": bought.id})

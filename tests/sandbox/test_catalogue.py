"""Products and prices, and the account they belong to, through the unmodified SDK."""

from typing import Any

import pytest
import stripe

from stripe_sandbox import SandboxServer
from tests.sandbox.conftest import types


async def price(client: stripe.StripeClient, **options: Any) -> stripe.Price:
    params: Any = {"unit_amount": 599, "currency": "usd", **options}
    if "product" not in options:
        params["product_data"] = {"name": "Credits"}
    return await client.v1.prices.create_async(params)


async def refused(call: Any) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as error:
        await call
    return error.value


async def test_a_lookup_key_belongs_to_one_price_archived_or_not_until_it_is_transferred(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    first = await price(client, lookup_key="k")
    await client.v1.prices.update_async(first.id, {"active": False})
    taken = await refused(price(client, lookup_key="k"))
    assert taken.user_message == f"A price (`{first.id}`) already uses that lookup key."
    assert taken.param == "lookup_key"
    second = await price(client, lookup_key="k", transfer_lookup_key=True)
    assert (second.lookup_key, (await client.v1.prices.retrieve_async(first.id)).lookup_key) == ("k", None)
    other = await price(client)
    assert (await refused(client.v1.prices.update_async(other.id, {"lookup_key": "k"}))).param == "lookup_key"
    await client.v1.prices.update_async(other.id, {"lookup_key": "k", "transfer_lookup_key": True})
    assert (await client.v1.prices.retrieve_async(second.id)).lookup_key is None
    # Archived, its key taken; made; made; its key taken, the key given.
    assert [type for type in types(sandbox) if type.startswith("price.")] == [
        "price.created",
        "price.updated",
        "price.updated",
        "price.created",
        "price.created",
        "price.updated",
        "price.updated",
    ]
    await client.v1.prices.update_async(other.id, {"lookup_key": ""})
    assert (await client.v1.prices.retrieve_async(other.id)).lookup_key is None


async def test_prices_are_found_by_lookup_key_product_type_and_interval(client: stripe.StripeClient) -> None:
    once = await price(client, lookup_key="once")
    month = await price(client, lookup_key="month", product=once.product, recurring={"interval": "month"})
    year = await price(client, recurring={"interval": "year"})

    async def found(**filters: Any) -> list[str]:
        params: Any = filters
        return [each.id for each in (await client.v1.prices.list_async(params)).data]

    assert await found(lookup_keys=["once", "month", "none"]) == [month.id, once.id]
    assert await found(product=once.product) == [month.id, once.id]
    assert await found(type="one_time") == [once.id]
    assert await found(recurring={"interval": "year"}) == [year.id]
    await client.v1.prices.update_async(month.id, {"active": False})
    assert await found(active=True) == [year.id, once.id]
    assert (await refused(found(lookup_keys=[str(n) for n in range(11)]))).param == "lookup_keys"


async def test_the_default_price_of_a_product_cannot_be_archived(client: stripe.StripeClient) -> None:
    made = await price(client)
    await client.v1.products.update_async(str(made.product), {"default_price": made.id})
    assert "default price" in str(await refused(client.v1.prices.update_async(made.id, {"active": False})))
    other = await price(client)
    wrong = await refused(client.v1.products.update_async(str(made.product), {"default_price": other.id}))
    assert (wrong.code, wrong.param) == ("resource_missing", "default_price")


async def test_a_product_has_the_id_it_is_given_once(client: stripe.StripeClient) -> None:
    made = await client.v1.products.create_async({"id": "mine", "name": "Mine"})
    assert made.id == "mine"
    taken = await refused(client.v1.products.create_async({"id": "mine", "name": "Mine"}))
    assert (taken.code, taken.param) == ("resource_already_exists", "id")


async def test_a_product_is_deleted_only_without_prices(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    with_price = await price(client)
    assert "cannot be deleted" in str(await refused(client.v1.products.delete_async(str(with_price.product))))
    made = await client.v1.products.create_async({"name": "Mine"})
    await client.v1.products.delete_async(made.id)
    assert (await refused(client.v1.products.retrieve_async(made.id))).code == "resource_missing"
    assert types(sandbox)[-1] == "product.deleted"


async def test_an_archived_price_cannot_be_bought(client: stripe.StripeClient) -> None:
    made = await price(client)
    await client.v1.prices.update_async(made.id, {"active": False})
    buying: Any = {
        "mode": "payment",
        "line_items": [{"price": made.id, "quantity": 1}],
        "success_url": "http://shop.test/",
    }
    error = await refused(client.v1.checkout.sessions.create_async(buying))
    assert (error.param, "inactive" in str(error)) == ("line_items[0][price]", True)


async def test_the_account_is_always_the_same(client: stripe.StripeClient) -> None:
    account = await client.v1.accounts.retrieve_current_async()
    assert account.id.startswith("acct_")
    assert (await client.v1.accounts.retrieve_current_async()).id == account.id


async def test_a_restricted_key_is_told_which_permission_it_lacks(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    sandbox.sandbox.outages.fail("forbidden", path="/v1/prices", times=None)
    for call, permission in ((client.v1.prices.list_async(), "rak_plan_read"), (price(client), "rak_plan_write")):
        with pytest.raises(stripe.PermissionError, match=permission):
            await call
    await client.v1.products.list_async()
    sandbox.sandbox.outages.fail("forbidden", path="/v1/checkout")
    with pytest.raises(stripe.PermissionError, match="rak_checkout_session_read"):
        await client.v1.checkout.sessions.list_async()

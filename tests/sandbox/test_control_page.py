"""The sandbox's own page: subscriptions that are made to fail, pause and end, clocks that are moved, the portal's defaults."""

import httpx2

from tests.sandbox.subscribing import Shop
from tests.sandbox.visiting import readable

PERSON = {"Accept": "text/html"}
MONTH = str(31 * 86_400)


async def test_subscriptions_are_shown_and_made_to_fail_pause_and_end(
    shop: Shop, browser: httpx2.AsyncClient
) -> None:
    page = f"{shop.server.url}/sandbox"

    async def see() -> str:
        return readable((await browser.get(f"{page}/")).text)

    async def let(what: str, id: str) -> str:
        answer = await browser.post(
            f"{page}/subscriptions/{id}", data={"do": what}, headers=PERSON, follow_redirects=True
        )
        return readable(answer.text)

    assert "They appear when somebody subscribes" in await see()
    customer = await shop.customer()
    subscription = await shop.subscribe(customer, await shop.price(1900))
    id = subscription.id
    said = await see()
    assert f"{id} active" in said
    assert "1 × $19.00 / month · period ends" in said
    assert "its card is declined" in await let("let_payments_fail", id)
    await browser.post(f"{page}/clock", data={"advance": MONTH}, headers=PERSON)
    assert f"{id} past_due" in await see()
    await let("let_payments_succeed", id)
    await browser.post(f"{page}/clock", data={"advance": MONTH})
    assert f"{id} active" in await see()
    assert "· ends 2" in await let("cancel_at_period_end", id)
    assert "period ends" in await let("keep", id)
    assert f"{id} paused" in await let("pause", id)
    assert f"{id} active" in await let("resume", id)
    assert f"{id} canceled" in await let("cancel", id)
    assert "That was refused" in await let("cancel", id)
    refused = await browser.post(f"{page}/subscriptions/{id}", data={"do": "vanish"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "do")


async def test_clocks_are_moved_and_the_portal_is_set_up(shop: Shop, browser: httpx2.AsyncClient) -> None:
    page = f"{shop.server.url}/sandbox"
    clock = await shop.client.v1.test_helpers.test_clocks.create_async({"frozen_time": 1_800_000_000, "name": "mine"})
    said = readable((await browser.get(f"{page}/")).text)
    assert f"{clock.id} mine ready 2027-01-15 08:00 UTC" in said
    assert "Save the portal" in said
    moved = (await browser.post(f"{page}/test_clocks/{clock.id}", data={"advance": "86400"})).json()
    assert (moved["status"], moved["frozen_time"]) == ("ready", 1_800_086_400)
    before = (await browser.post(f"{page}/clock", data={"advance": "0"})).json()["now"]
    for wrong in ("-1", "", "soon"):
        assert (await browser.post(f"{page}/clock", data={"advance": wrong})).status_code == 400
    assert (await browser.post(f"{page}/clock", data={"advance": "3600"})).json()["now"] - before in (
        3600,
        3601,
        3602,
    )
    assert (await browser.post(f"{page}/portal", headers=PERSON)).status_code == 303
    assert "Save the portal" not in (await browser.get(f"{page}/")).text

"""Pages that watch go on watching through an outage, and a part of a page that fails says so."""

from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tallystick.cli.house import House
from tallystick.domain.errors import LedgerUnavailable
from tests.e2e.conftest import fill_card, go_to_checkout, sign_in, text_of


async def test_s22_the_return_page_goes_on_watching_through_an_outage(page: Page) -> None:
    await sign_in(page)
    await go_to_checkout(page)
    looks: list[str] = []

    async def failing(route: Route) -> None:
        looks.append(route.request.url)
        if len(looks) == 1:
            await route.abort()
        elif len(looks) == 2:
            await route.fulfill(status=503, body="<h1>Down</h1>")
        else:
            await route.continue_()

    await page.route("**/progress?*", failing)
    await fill_card(page)
    await page.click("[data-testid=pay]")
    await expect(page.locator("h1")).to_have_text("200 credits added", timeout=15_000)
    assert len(looks) >= 3


async def test_generate_keeps_the_keyboard_where_it_was(page: Page) -> None:
    await sign_in(page)
    button = page.locator("[data-testid=generate]")
    await button.focus()
    for left in (497, 494):
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-testid=monthly]")).to_have_text(str(left))
        await expect(button).to_be_focused()
    await expect(page.locator("progress")).to_have_js_property("value", 494)
    await page.click("[data-testid=buy-credits]")
    await page.wait_for_url("**/c/pay/**")


async def test_a_part_of_a_page_that_fails_says_so_as_a_page(
    house: House, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_in(page)

    async def unavailable(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("The database did not answer. Nothing is lost.")

    monkeypatch.setattr(house.credits, "spend", unavailable)
    await page.click("[data-testid=generate]")
    await expect(page.locator("h1")).to_have_text("Not available right now", timeout=15_000)
    assert await page.locator("header").count() == 1
    assert await text_of(page, "error-text") == "The database did not answer. Nothing is lost."

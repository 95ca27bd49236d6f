"""Managing a subscription in a real browser: through the portal and back, with the settings page telling what holds."""

from playwright.async_api import Page, expect

from tests.e2e.conftest import comes_to_say, manage, sign_in, violations


async def test_s16_s17_who_cancels_in_the_portal_keeps_plus_until_the_end_and_can_take_it_back(page: Page) -> None:
    await sign_in(page)
    await page.goto("/settings")
    await manage(page)
    assert await violations(page) == []
    await page.click("[data-testid=cancel-plan]")
    assert await violations(page) == []
    await page.click("[data-testid=confirm-cancel]")
    await page.click("[data-testid=return]")
    await comes_to_say(page, "until")
    await expect(page.locator("[data-testid=subscription]")).not_to_contain_text("renews")
    assert await violations(page) == []
    await manage(page)
    await page.click("[data-testid=renew]")
    await page.click("[data-testid=return]")
    await comes_to_say(page, "renews")


async def test_the_portal_fits_a_phone_and_can_be_used_in_the_dark(page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.emulate_media(color_scheme="dark")
    await sign_in(page)
    await page.goto("/settings")
    await manage(page)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert await violations(page) == []
    await page.locator("[data-testid=invoices] a").first.click()
    await expect(page.locator("[data-testid=invoice-status]")).to_have_text("Paid")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert await violations(page) == []

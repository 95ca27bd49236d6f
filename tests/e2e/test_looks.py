"""Every page in light and dark, on a desktop and on a phone: no accessibility violation, nothing cut off."""

from typing import Literal

import pytest
from playwright.async_api import Browser

from tallystick.cli import customers
from tallystick.cli.house import House
from tests.e2e.conftest import cut_off, fill_card, go_to_checkout, sign_in, violations
from tests.web.conftest import park_an_event

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_every_page_is_accessible_and_fits(
    house: House, chromium: Browser, scheme: Literal["light", "dark"], size: dict[str, int]
) -> None:
    context = await chromium.new_context(base_url=house.url, color_scheme=scheme, viewport=size)
    page = await context.new_page()
    wrong: list[str] = []

    async def look(path: str = "") -> None:
        if path:
            await page.goto(path)
        wrong.extend(await violations(page))
        wrong.extend(await cut_off(page))

    await look("/sign-up")
    await page.goto("/sign-in")
    await page.fill("input[name=email]", "x@example.com")
    await page.fill("input[name=password]", "wrong password")
    await page.click("[data-testid=submit]")
    await look()
    await sign_in(page)
    await look()
    await page.click("[data-testid=generate]")
    await page.wait_for_selector("text=Done. Spent")
    await look()
    for path in ("/dashboard?purchase=cancelled", "/history", "/history?before=1", "/settings", "/nothing"):
        await look(path)
    await page.goto("/dashboard")
    await go_to_checkout(page)
    await look()
    await fill_card(page, "4000 0000 0000 0002")
    await page.click("[data-testid=pay]")
    await page.wait_for_selector("[data-testid=payment-error]")
    await look()
    await fill_card(page, "4000 0000 0000 3220")
    await page.click("[data-testid=pay]")
    await page.wait_for_selector("[data-testid=complete-3ds]")
    await look()
    await page.click("[data-testid=complete-3ds]")
    await page.wait_for_selector("[data-state=success]")
    await look()
    await look(f"{house.sandbox_url}/sandbox/")
    await look(f"{house.sandbox_url}/c/pay/cs_test_none")
    await page.goto("/settings")
    await page.click("[data-testid=sign-out]")
    await sign_in(page, customers.FREE)
    await look()
    await page.context.clear_cookies()
    await sign_in(page, customers.OPERATOR)
    await park_an_event(house)
    await look("/operator")
    await page.get_by_role("button", name="Replay event evt_parked").click()
    await page.get_by_text("was worked again").wait_for()
    await look()
    await context.close()
    assert wrong == []

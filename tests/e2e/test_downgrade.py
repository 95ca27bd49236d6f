"""From a larger plan to a smaller one in a real browser: it waits for the period's end, is told, and is taken back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from tallystick.cli import customers
from tallystick.cli import house as houses
from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tests.e2e.conftest import comes_to_say, cut_off, manage, sign_in, text_of, violations
from tests.e2e.test_looks import DESKTOP, PHONE

EMAIL = "pro@example.com"
TWO_PAID = Catalogue(
    [
        Plan("free", 25, title="FREE"),
        Plan("plus", 500, title="PLUS", can_buy=True, price=Money(1_900, "USD"), stripe_price="price_plus"),
        Plan("pro", 2_000, title="PRO", can_buy=True, price=Money(4_900, "USD"), stripe_price="price_pro"),
    ],
    [Pack("credits_200", title="200 bonus credits", credits=200, price="5.99 USD", stripe_price="price_200")],
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[houses.House]:
    """A house that sells two plans, and somebody who is on the larger one."""
    async with houses.open_house(tmp_path / "demo", port=0, sandbox_port=0, catalogue=TWO_PAID) as running:
        await running.users.create(EMAIL, customers.PASSWORD)
        await customers.subscribe(running, EMAIL, "pro")
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_s17_who_downgrades_in_the_portal_is_told_when_it_comes_and_can_take_it_back(
    page: Page, scheme: Literal["light", "dark"], size: dict[str, int]
) -> None:
    wrong: list[str] = []

    async def look() -> None:
        wrong.extend([*await violations(page), *await cut_off(page)])

    await page.set_viewport_size({"width": size["width"], "height": size["height"]})
    await page.emulate_media(color_scheme=scheme)
    await sign_in(page, EMAIL)
    await page.goto("/settings")
    await expect(page.locator("[data-testid=subscription]")).to_contain_text("renews")
    await look()
    await manage(page)
    await look()
    await page.click("[data-testid=update-plan]")
    await look()
    await page.get_by_role("radio", name="PLUS").check()
    await page.click("[data-testid=choose-plan]")
    assert "Nothing is charged today" in await text_of(page, "change-when")
    await look()
    await page.click("[data-testid=confirm-change]")
    await expect(page.locator("[data-testid=scheduled]")).to_contain_text("Changes")
    await look()
    await page.click("[data-testid=return]")
    await comes_to_say(page, "changes to PLUS on")
    await expect(page.locator("[data-testid=subscription]")).to_contain_text("Until then nothing changes")
    await expect(page.get_by_text("2,000").first).to_be_visible()
    await look()
    await manage(page)
    await page.click("[data-testid=keep-plan]")
    await expect(page.locator("[data-testid=scheduled]")).to_have_count(0)
    await page.click("[data-testid=return]")
    await comes_to_say(page, "renews on")
    await expect(page.locator("[data-testid=subscription]")).not_to_contain_text("changes to")
    assert wrong == []

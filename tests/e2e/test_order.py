"""An order that a buyer changes at Stripe's page, in a real browser: two packs, with a code for all of it."""

from collections.abc import Mapping
from typing import Any

import pytest
from playwright.async_api import Page, expect

from stripe_sandbox.billing import coupons
from tallystick.cli import house as houses
from tallystick.domain.catalogue import Catalogue, Pack
from tests.e2e.conftest import go_to_checkout, sign_in, violations


@pytest.fixture(autouse=True)
def a_generous_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The house sells up to two packs at once, and takes promotion codes."""
    read = houses.read_catalogue

    def generous(prices: Mapping[str, str], *args: Any, **options: Any) -> Catalogue:
        catalogue = read(prices, *args, **options)
        (pack,) = catalogue.packs
        better = Pack(
            pack.id,
            credits=pack.credits,
            price=pack.price,
            stripe_price=pack.stripe_price,
            max_quantity=2,
            promotion_codes=True,
        )
        return Catalogue(catalogue.plans, [better])

    monkeypatch.setattr(houses, "read_catalogue", generous)


async def test_two_packs_with_a_code_for_all_of_it_are_credited_without_a_card(
    house: houses.House, page: Page
) -> None:
    coupon = coupons.create(house.sandbox, {"percent_off": 100})
    coupons.create_code(house.sandbox, {"promotion": {"type": "coupon", "coupon": coupon["id"]}, "code": "FREE"})
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.emulate_media(color_scheme="dark")
    await sign_in(page)
    await go_to_checkout(page)
    await page.click("[data-testid=more]")
    await expect(page.locator("[data-testid=quantity]")).to_contain_text("2")
    await expect(page.locator("[data-testid=total]")).to_have_text("$11.98")
    await expect(page.locator("[data-testid=more]")).to_be_disabled()
    await page.get_by_label("Promotion code").fill("nothing")
    await page.click("[data-testid=apply-code]")
    await expect(page.locator("[data-testid=code-error]")).to_have_text("This code is invalid.")
    assert await violations(page) == []
    await page.get_by_label("Promotion code").fill("free")
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-testid=total]")).to_have_text("$0.00")
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_role("button", name="Complete order").click()
    await expect(page.locator("h1")).to_have_text("400 credits added", timeout=15_000)
    await page.goto(f"{house.url}/settings")
    await expect(page.locator("[data-testid=purchases]")).to_contain_text("$0.00")

"""A real Chromium in front of the running service and sandbox."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

from tallystick.cli import customers
from tallystick.cli import house as houses

CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[houses.House]:
    async with houses.open_house(tmp_path / "demo", port=0, sandbox_port=0) as running:
        await customers.seed(running)
        yield running


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(house: houses.House, chromium: Browser) -> AsyncIterator[Page]:
    """A page of the service; whatever its scripts complain about fails the test."""
    context = await chromium.new_context(base_url=house.url)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    await context.close()
    assert complaints == []


async def sign_in(page: Page, email: str = customers.PLUS) -> None:
    await page.goto("/sign-in")
    await page.fill("input[name=email]", email)
    await page.fill("input[name=password]", customers.PASSWORD)
    await page.click("[data-testid=submit]")
    await page.wait_for_url("**/dashboard")


async def fill_card(page: Page, number: str = "4242 4242 4242 4242") -> None:
    await page.fill("[name=card_number]", number)
    await page.fill("[name=exp]", "12 / 40")
    await page.fill("[name=cvc]", "123")
    await page.fill("[name=name]", "Pat Plus")


async def go_to_checkout(page: Page) -> None:
    await page.click("[data-testid=buy-credits]")
    await page.wait_for_url("**/c/pay/**")


async def manage(page: Page) -> None:
    await page.click("[data-testid=manage-subscription] button")
    await page.wait_for_url("**/p/session/**")


async def comes_to_say(page: Page, words: str) -> None:
    """The page tells what Stripe told us by event, which takes a moment."""
    for _ in range(40):
        if words in await page.locator("[data-testid=subscription]").inner_text():
            return
        await page.wait_for_timeout(250)
        await page.reload()
    await expect(page.locator("[data-testid=subscription]")).to_contain_text(words)


async def text_of(page: Page, testid: str) -> str:
    return (await page.locator(f"[data-testid={testid}]").first.inner_text()).strip()


async def violations(page: Page) -> list[str]:
    """What axe finds on the page, in words."""
    found = await Axe().run(page)
    return [
        f"{page.url}: {v['id']} on {', '.join(str(n['target']) for n in v['nodes'][:3])}"
        for v in found.response["violations"]
    ]


async def cut_off(page: Page) -> list[str]:
    """A page that scrolls sideways."""
    too_wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{page.url} is {too_wide} pixels too wide"] if too_wide > 0 else []

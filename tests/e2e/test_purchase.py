"""The seed's own recipe in a real browser, and every other way a purchase can go."""

import re

import pytest
from playwright.async_api import Page, expect

from tallystick.cli import customers
from tallystick.cli.house import House
from tests.e2e.conftest import fill_card, go_to_checkout, sign_in, text_of


async def test_from_sign_up_to_spending_bonus_credits(house: House, page: Page) -> None:
    """Sign up, become PLUS, buy, see the credits without reloading, spend into them, read it in the history."""
    await page.goto("/")
    await page.click("text=Sign up")
    await page.fill("input[name=email]", "new@example.com")
    await page.fill("input[name=password]", "a long password")
    await page.click("[data-testid=submit]")
    await page.wait_for_url("**/dashboard")
    assert await text_of(page, "plan") == "FREE"
    assert await page.locator("[data-testid=credit-purchase]").count() == 0

    await page.click("[data-testid=become-plus]")
    await page.wait_for_url("**/c/pay/**")
    await expect(page.locator(".total")).to_contain_text("$19.00")
    await fill_card(page)
    await page.click("[data-testid=pay]")
    await page.wait_for_url("**/plan/return**")
    await expect(page.locator("h1")).to_have_text("You are on PLUS", timeout=15_000)

    await page.click("text=To the dashboard")
    await expect(page.locator("[data-testid=credit-purchase]")).to_contain_text("200 credits for $5.99")
    assert (await text_of(page, "monthly"), await text_of(page, "bonus")) == ("500", "0")
    await go_to_checkout(page)
    await expect(page.locator("[name=email]")).to_have_value("new@example.com")
    await fill_card(page)
    await page.click("[data-testid=pay]")
    await page.wait_for_url("**/purchases/return**")
    await page.evaluate("window.stillTheSamePage = true")
    await expect(page.locator("h1")).to_have_text("200 credits added", timeout=15_000)
    assert await page.evaluate("window.stillTheSamePage") is True
    assert (await text_of(page, "total"), await text_of(page, "bonus")) == ("700", "200")

    user = await house.users.find("new@example.com")
    assert user is not None
    await house.credits.spend(user.account_id, 498, key="a-big-job", operation="a big job")
    await page.click("text=To the dashboard")
    await page.click("[data-testid=generate]")
    await expect(page.locator("[data-testid=generate-result]")).to_contain_text("2 monthly, 1 bonus")
    assert (await text_of(page, "monthly"), await text_of(page, "bonus")) == ("0", "199")

    await page.click("text=Whole history")
    details = await page.locator("[data-testid=entry-detail]").all_inner_texts()
    assert [detail.split("\n")[0] for detail in details[:3]] == [
        "Generate · 2 monthly + 1 bonus",
        "a big job · 498 monthly",
        "Bought 200 credits for 5.99 USD",
    ]
    await page.goto("/settings")
    shown = [await text_of(page, name) for name in ("monthly", "bonus", "total")]
    assert shown == ["0", "199", "199"]
    await expect(page.locator("[data-testid=subscription]")).to_contain_text("active and renews on")


async def test_the_return_page_turns_from_received_into_credited_by_itself(page: Page) -> None:
    await sign_in(page)
    await go_to_checkout(page)
    await fill_card(page)
    await page.click("[data-testid=pay]")
    await page.wait_for_url("**/purchases/return**", wait_until="commit")
    titles: list[str] = []
    for _ in range(400):
        title = await page.locator("h1").inner_text()
        if not titles or titles[-1] != title:
            titles.append(title)
        if "added" in title:
            break
        await page.wait_for_timeout(20)
    assert titles[-1] == "200 credits added"
    assert titles[:-1] in ([], ["Payment received"])


async def test_a_declined_card_says_so_and_another_one_pays(page: Page) -> None:
    await sign_in(page)
    await go_to_checkout(page)
    await fill_card(page, "4000 0000 0000 0002")
    await page.click("[data-testid=pay]")
    await expect(page.locator("[data-testid=payment-error]")).to_have_text("Your card was declined.")
    await expect(page.locator("[name=card_number]")).to_have_value("")
    await fill_card(page)
    await page.click("[data-testid=pay]")
    await expect(page.locator("h1")).to_have_text("200 credits added", timeout=15_000)


@pytest.mark.parametrize("confirmed", [True, False])
async def test_3d_secure_asks_and_pays_only_when_confirmed(page: Page, confirmed: bool) -> None:
    await sign_in(page)
    await go_to_checkout(page)
    await fill_card(page, "4000 0000 0000 3220")
    await page.click("[data-testid=pay]")
    await expect(page.locator("h1")).to_have_text("Confirm your payment")
    await page.click(f"[data-testid={'complete' if confirmed else 'fail'}-3ds]")
    if confirmed:
        await expect(page.locator("h1")).to_have_text("200 credits added", timeout=15_000)
    else:
        await expect(page.locator("[data-testid=payment-error]")).to_contain_text("unable to authenticate")


async def test_leaving_the_checkout_changes_nothing_and_says_so(page: Page) -> None:
    await sign_in(page)
    await go_to_checkout(page)
    await page.click("[data-testid=cancel]")
    await page.wait_for_url("**/dashboard?purchase=cancelled")
    await expect(page.locator("[data-testid=cancelled]")).to_contain_text("Nothing was charged")
    assert await text_of(page, "bonus") == "0"


@pytest.mark.parametrize(("outcome", "title"), [("Arrives", "200 credits added"), ("Fails", "The payment failed")])
async def test_a_delayed_payment_waits_then_ends_without_reloading(
    house: House, page: Page, outcome: str, title: str
) -> None:
    await sign_in(page)
    await go_to_checkout(page)
    await page.check("[name=payment_method][value=bank]")
    await page.fill("[name=name]", "Pat Plus")
    await page.click("[data-testid=pay]")
    await expect(page.locator("h1")).to_have_text("Payment under way", timeout=15_000)
    await expect(page.locator("[data-testid=purchase-state]")).to_contain_text("safe to leave this page")
    stripe = await page.context.new_page()
    await stripe.goto(f"{house.sandbox_url}/sandbox/")
    await stripe.click(f"text={outcome}")
    await expect(page.locator("h1")).to_have_text(title, timeout=15_000)


async def test_a_free_customer_is_shown_the_way_to_plus_instead(page: Page) -> None:
    await sign_in(page, customers.FREE)
    assert await page.locator("[data-testid=credit-purchase]").count() == 0
    await expect(page.locator("[data-testid=become-plan]")).to_contain_text("500 credits a month for $19.00")
    status = await page.evaluate(
        "fetch('/api/stripe/create-credit-checkout', {method: 'POST'}).then(answer => answer.status)"
    )
    assert status == 403


async def test_a_signed_out_visitor_signs_in_and_comes_back_to_the_same_place(page: Page) -> None:
    await page.goto("/history")
    assert "/sign-in?next=/history" in page.url
    await page.fill("input[name=email]", customers.PLUS)
    await page.fill("input[name=password]", customers.PASSWORD)
    await page.click("[data-testid=submit]")
    await page.wait_for_url("**/history")


async def test_the_card_says_what_is_wrong_and_can_be_used_again(house: House, page: Page) -> None:
    await sign_in(page)
    await page.route("**/api/stripe/create-credit-checkout", lambda route: route.abort())
    await page.click("[data-testid=buy-credits]")
    await expect(page.locator("[data-testid=buy-message]")).to_contain_text("Nothing was charged")
    await expect(page.locator("[data-testid=buy-credits]")).to_be_enabled()
    await page.unroute("**/api/stripe/create-credit-checkout")
    await page.context.clear_cookies()
    await page.click("[data-testid=buy-credits]")
    await expect(page.locator("[data-testid=buy-message]")).to_contain_text(re.compile("signed out"))


async def test_running_out_of_credits_is_told_with_the_ways_out(house: House, page: Page) -> None:
    await sign_in(page)
    user = await house.users.find(customers.PLUS)
    assert user is not None
    await house.credits.spend(user.account_id, 498, key="s")
    await page.click("[data-testid=generate]")
    await expect(page.locator("[data-testid=insufficient]")).to_contain_text("Buy extra credits below, or wait")

"""One whole purchase without a person, over HTTP alone: what `tallystick demo --once` shows and proves."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2

from tallystick.cli.customers import PASSWORD, PLUS, pay
from tallystick.cli.house import House
from tallystick.ledger.verify import verify

GENERATE_COST = 3


class WentWrong(Exception):
    """A step did not come out as it must."""


class Walkthrough:
    """Signs in as the PLUS customer, buys a pack, waits for the credits, spends past the allowance.

    `steps` has one object a step: what was done, and the balances before and after it.
    """

    def __init__(self, house: House, say: Callable[[str], None]) -> None:
        self.steps: list[dict[str, Any]] = []
        self._house = house
        self._say = say

    async def run(self) -> None:
        """Take every step. Raises WentWrong at the first that does not come out right."""
        headers = {"Origin": self._house.url, "Sec-Fetch-Site": "same-origin"}
        async with httpx2.AsyncClient(base_url=self._house.url, headers=headers, timeout=10) as browser:
            before = await self._sign_in(browser)
            pack = self._house.credits.catalogue.packs[0]

            checkout = await self._create_checkout(browser)
            came_back = await pay(checkout["url"], PLUS)
            self._say(f"Paid {pack.price} at the hosted page with 4242 4242 4242 4242.")
            await self._step(
                "buy a pack",
                before,
                lambda: self._until_credited(browser, checkout["purchase_id"]),
                {"monthly": 0, "bonus": pack.credits},
                browser,
            )
            await self._return_page(browser, came_back)

            before = await self._balance(browser)
            almost_all = before["monthly"] - 2
            await self._step(
                "spend monthly credits",
                before,
                lambda: self._spend(before["account_id"], almost_all),
                {"monthly": -almost_all, "bonus": 0},
                browser,
            )
            before = await self._balance(browser)
            await self._step(
                "press Generate, past the allowance",
                before,
                lambda: self._generate(browser),
                {"monthly": -2, "bonus": -(GENERATE_COST - 2)},
                browser,
            )
        proof = await verify(self._house.credits.ledger, None)
        if proof.differences:
            raise WentWrong(f"the ledger does not prove itself: {proof.differences}")
        self._say(f"Verified {proof.entries} entries of {proof.accounts} accounts: every number is proven.")

    async def _step(
        self,
        name: str,
        before: dict[str, Any],
        act: Callable[[], Any],
        expected: dict[str, int],
        browser: httpx2.AsyncClient,
    ) -> None:
        await act()
        after = await self._balance(browser)
        self.steps.append({"step": name, "before": _short(before), "after": _short(after)})
        for what, change in expected.items():
            if after[what] - before[what] != change:
                raise WentWrong(f"{name}: {what} went from {before[what]} to {after[what]}, not by {change}")
        self._say(
            f"{name[0].upper()}{name[1:]}: monthly {before['monthly']} -> {after['monthly']}, "
            f"bonus {before['bonus']} -> {after['bonus']}, available {after['available']}."
        )

    async def _sign_in(self, browser: httpx2.AsyncClient) -> dict[str, Any]:
        answer = await browser.post("/sign-in", data={"email": PLUS, "password": PASSWORD})
        if answer.status_code != 303:
            raise WentWrong(f"signing in as {PLUS} answered {answer.status_code}")
        balance = await self._balance(browser)
        self.steps.append({"step": "sign in", "before": None, "after": _short(balance)})
        self._say(f"Signed in as {PLUS}: {balance['monthly']} monthly, {balance['bonus']} bonus credits.")
        return balance

    async def _create_checkout(self, browser: httpx2.AsyncClient) -> dict[str, Any]:
        answer = await browser.post("/api/stripe/create-credit-checkout", json={})
        if answer.status_code != 200:
            raise WentWrong(f"creating the checkout answered {answer.status_code}: {answer.text}")
        checkout: dict[str, Any] = answer.json()
        self._say(f"Created checkout for purchase {checkout['purchase_id']}.")
        return checkout

    async def _until_credited(self, browser: httpx2.AsyncClient, purchase_id: str) -> None:
        async with asyncio.timeout(30):
            while True:
                answer = await browser.get(f"/api/purchases/{purchase_id}")
                status = answer.json()["status"]
                if status == "credited":
                    return
                if status not in {"open", "pending"}:
                    raise WentWrong(f"the purchase is {status}")
                await asyncio.sleep(0.1)

    async def _return_page(self, browser: httpx2.AsyncClient, url: str) -> None:
        answer = await browser.get(url)
        if answer.status_code != 200:
            raise WentWrong(f"the return page answered {answer.status_code}")
        self._say("Came back: the return page says that the credits are there.")

    async def _balance(self, browser: httpx2.AsyncClient) -> dict[str, Any]:
        answer = await browser.get("/api/credits/balance")
        if answer.status_code != 200:
            raise WentWrong(f"reading the balance answered {answer.status_code}")
        balance: dict[str, Any] = answer.json()
        return balance

    async def _spend(self, account_id: str, amount: int) -> None:
        await self._house.credits.spend(account_id, amount, key="once:almost-all", operation="a big job")

    async def _generate(self, browser: httpx2.AsyncClient) -> None:
        answer = await browser.post("/generate", data={"key": "once-generate"})
        if answer.status_code not in {200, 303}:
            raise WentWrong(f"Generate answered {answer.status_code}")


def _short(balance: dict[str, Any]) -> dict[str, int]:
    return {name: balance[name] for name in ("monthly", "bonus", "available")}

"""S23, S28: `refund`, `reconcile` and `stripe setup` as processes that are killed with SIGKILL while an answer of Stripe is
on its way, at the first call, the second, and so on; typed again, each comes to the same end.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.billing import PurchaseStatus
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Spend
from tests.billing.conftest import SECRET, proven_shop
from tests.conftest import PACK_PRICE, PLUS_PRICE
from tests.serving import serving

METHODS = ["GET", "POST", "DELETE"]
PASSED_ON = ("content-type", "request-id", "stripe-should-retry", "idempotent-replayed")


class Killer:
    """Stands between a command and Stripe, and kills the command when its nth call has been answered."""

    def __init__(self, stripe: str) -> None:
        self._stripe = stripe
        self._calls = 0
        self._deadly: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""
        self.code: int | None = None

    async def run(self, words: tuple[str, ...], environment: dict[str, str], folder: Path, deadly: int) -> str | None:
        """What the command printed when it came to its end; None when it was killed at its call number `deadly`."""
        self._calls, self._deadly = 0, deadly
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from tallystick.cli import app; app()", *words),
            cwd=folder,
            env={"PATH": os.environ["PATH"], "STRIPE_API_BASE": self.url, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await self._process.communicate()
        if self._process.returncode == -signal.SIGKILL:
            return None
        self.code = self._process.returncode
        return (out + error).decode()

    @asynccontextmanager
    async def standing(self) -> AsyncIterator["Killer"]:
        async with httpx2.AsyncClient(base_url=self._stripe) as http:

            async def forward(request: Request) -> Response:
                self._calls += 1
                n = self._calls
                headers = {name: value for name, value in request.headers.items() if name != "host"}
                path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                answer = await http.request(request.method, path, headers=headers, content=await request.body())
                if n == self._deadly and self._process is not None:
                    self._process.kill()
                kept = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
                return Response(answer.content, answer.status_code, kept)

            async with serving(Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)])) as self.url:
                yield self

    async def run_until_it_lives(
        self, words: tuple[str, ...], environment: dict[str, str], folder: Path
    ) -> tuple[int, str]:
        """Kill it at its first call, then at its second, and so on. Answers how often it died, and what it said then."""
        for deadly in range(1, 60):
            said = await self.run(words, environment, folder, deadly)
            if said is not None:
                return deadly - 1, said
        raise AssertionError("it never came to its end")


def settings(database_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "STRIPE_SECRET_KEY": "sk_test_1",
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "STRIPE_PLUS_PRICE_ID": PLUS_PRICE,
        "STRIPE_CREDIT_PACK_200_PRICE_ID": PACK_PRICE,
    }


async def test_s23_a_refund_that_is_killed_at_any_call_is_made_once(
    database_url: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    async with proven_shop(database_url, catalogue) as shop, Killer(shop.url).standing() as killer:
        await shop.open()
        purchase = await shop.buy()
        await shop.deliver()
        await shop.ledger.submit(Spend(account_id="acme", key="s", amount=25 + 150))
        words = ("refund", purchase.id, "--amount", "2.00", "--key", "ticket-1", "--yes")
        deaths, said = await killer.run_until_it_lives(words, settings(database_url), tmp_path)
        assert (deaths > 2, killer.code) == (True, 0), said
        (refund,) = shop.sandbox.store.newest_first("refund")
        account = await shop.account()
        assert (refund["amount"], account.bonus, account.debt) == (200, 0, 66 - 50)
        await shop.deliver()
        after = await shop.account()
        assert (after.bonus, after.debt) == (account.bonus, account.debt)


async def test_a_reconciliation_that_is_killed_at_any_call_repairs_everything_once(
    database_url: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    async with proven_shop(database_url, catalogue) as shop, Killer(shop.url).standing() as killer:
        await shop.open()
        bought = [await shop.buy() for _ in range(2)]
        intent = shop.sandbox.store.newest_first("payment_intent")[0]["id"]
        await shop.stripe.v1.refunds.create_async({"payment_intent": intent, "amount": 599})
        deaths, said = await killer.run_until_it_lives(("reconcile", "--apply"), settings(database_url), tmp_path)
        assert (deaths > 2, killer.code) == (True, 0), said
        assert (await shop.account()).bonus == 200
        purchases = await shop.billing.purchases("acme")
        assert {purchase.id for purchase in purchases} == {purchase.id for purchase in bought}
        assert {purchase.status for purchase in purchases} == {PurchaseStatus.CREDITED}
        assert (await shop.billing.reconcile()).is_healthy


async def test_a_setup_that_is_killed_at_any_call_makes_each_thing_once(tmp_path: Path) -> None:
    async with SandboxServer(Sandbox()) as server, Killer(server.url).standing() as killer:
        key = {"STRIPE_SECRET_KEY": "sk_test_1"}
        deaths, said = await killer.run_until_it_lives(("stripe", "setup"), key, tmp_path)
        assert deaths > 5
        if killer.code == 1:
            # It was killed as the endpoint was made, whose secret Stripe shows once.
            assert "--new-secret" in said
            said = await killer.run(("stripe", "setup", "--new-secret"), key, tmp_path, 0) or ""
        assert (killer.code, "STRIPE_WEBHOOK_SECRET=whsec_" in said) == (0, True), said
        async with SandboxServer(Sandbox()) as other, Killer(other.url).standing() as patient:
            assert await patient.run(("stripe", "setup"), key, tmp_path, 0) is not None
            for type in ("product", "price", "webhook_endpoint", "billing_portal.configuration"):
                stores = (server.sandbox.store, other.sandbox.store)
                found = [
                    len([one for one in store.newest_first(type) if one.get("active", True)]) for store in stores
                ]
                assert found[0] == found[1] > 0, type

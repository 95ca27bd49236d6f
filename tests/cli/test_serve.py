"""`tallystick serve` and `stripe-sandbox` as two processes of their own, on both databases."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import stripe

from tallystick.cli.customers import pay
from tests.cli.test_commands import SETTINGS

SANDBOX = [sys.executable, "-m", "stripe_sandbox"]
TALLYSTICK = [sys.executable, "-c", "from tallystick.cli import app; app()"]


@asynccontextmanager
async def running(command: list[str], folder: Path, ready: str, **environment: str) -> AsyncIterator[str]:
    """A process; yields the line in which it says that it is ready, and expects it to stop cleanly."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**kept, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(60):
        while ready not in seen.rpartition("\n")[0].rpartition("\n")[2]:
            line = (await process.stdout.readline()).decode()
            assert line, f"it ended: {seen}"
            seen += line
    try:
        yield seen
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode in (0, -signal.SIGTERM)


async def test_serve_sells_a_plan_and_a_pack_against_a_sandbox_of_its_own_process(
    database_url: str, port: int, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{port}"
    hook = f"{url}/api/stripe/webhook=whsec_2"
    sandbox = [*SANDBOX, "--port", "0", "--database", str(tmp_path / "sandbox.db"), "--webhook", hook]
    async with running(sandbox, tmp_path, "Webhooks to") as said:
        match = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert match is not None
        client = stripe.StripeClient("sk_test_1", base_addresses={"api": match.group()})
        product = await client.v1.products.create_async({"name": "Credits"})
        pack = await client.v1.prices.create_async({"product": product.id, "unit_amount": 599, "currency": "usd"})
        plus = await client.v1.prices.create_async(
            {"product": product.id, "unit_amount": 1900, "currency": "usd", "recurring": {"interval": "month"}}
        )
        settings = {
            **SETTINGS,
            "STRIPE_CREDIT_PACK_200_PRICE_ID": pack.id,
            "STRIPE_PLUS_PRICE_ID": plus.id,
            "STRIPE_API_BASE": match.group(),
            "DATABASE_URL": database_url,
            "PORT": str(port),
        }
        async with (
            running([*TALLYSTICK, "serve"], tmp_path, "Uvicorn running", **settings) as log,
            httpx2.AsyncClient(base_url=url, timeout=20) as browser,
        ):
            form = {"email": "ann@example.com", "password": "a long password"}
            assert (await browser.post("/sign-up", data=form)).status_code == 303
            started = await browser.post("/api/stripe/create-plan-checkout", json={"plan": "plus"})
            await pay(started.json()["url"], "ann@example.com")
            await _until(browser, "monthly", 500)
            # The allowance opens first, and only the plan lets her buy.
            await _until(browser, "plan", "plus")
            started = await browser.post("/api/stripe/create-credit-checkout", json={})
            await pay(started.json()["url"], "ann@example.com")
            await _until(browser, "bonus", 200)
            assert (await browser.post("/generate", data={"key": "k"})).status_code == 404
            assert "whsec_" not in log
            assert "sk_test_" not in log


async def _until(browser: httpx2.AsyncClient, name: str, value: int | str) -> None:
    async with asyncio.timeout(30):
        while (await browser.get("/api/credits/balance")).json()[name] != value:
            await asyncio.sleep(0.1)

"""The example of mounting Tallystick in an application, run as a real server."""

import importlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.cli.customers import pay
from tests.serving import serving
from tests.web.conftest import problem

ROOT = Path(__file__).parents[2]
ANN = {"Authorization": "Bearer secret-of-ann"}


@pytest.fixture
async def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    async with SandboxServer(Sandbox()) as sandbox:
        sandbox.sandbox.seed_price(
            price_id="price_credits", product_name="200 credits", unit_amount=599, currency="usd"
        )
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'example.db'}")
        monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_1")
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_1")
        monkeypatch.setenv("STRIPE_API_BASE", sandbox.url)
        monkeypatch.syspath_prepend(str(ROOT))
        monkeypatch.delitem(sys.modules, "examples.fastapi_app", raising=False)
        module = importlib.import_module("examples.fastapi_app")
        async with serving(module.app) as url:
            sandbox.sandbox.register_webhook(f"{url}/api/stripe/webhook", "whsec_1")
            await module.credits.open_account("ann")
            await module.credits.set_plan("ann", "plus", key="plus")
            yield url


async def test_the_example_spends_buys_and_refuses_with_its_own_login(example: str) -> None:
    async with httpx2.AsyncClient(base_url=example) as http:
        work = {"prompt": "hello", "request_id": "r1"}
        assert (await http.post("/generate", json=work)).status_code == 401
        for _ in range(2):
            answer = await http.post("/generate", json=work, headers=ANN)
            assert answer.json() == {"answer": "HELLO", "credits_left": 22}
        for n in range(7):
            await http.post("/generate", json={"prompt": "x", "request_id": f"n{n}"}, headers=ANN)
        refused = await http.post("/generate", json={"prompt": "x", "request_id": "last"}, headers=ANN)
        assert (refused.status_code, refused.json()["available"]) == (402, 1)

        assert problem(await http.post("/api/stripe/create-credit-checkout", json={})) == (401, "not_signed_in")
        checkout = (await http.post("/api/stripe/create-credit-checkout", json={}, headers=ANN)).json()
        await pay(checkout["url"], "ann@example.com")
        for _ in range(100):
            purchase = (await http.get(f"/api/purchases/{checkout['purchase_id']}", headers=ANN)).json()
            if purchase["status"] == "credited":
                break
        balance = (await http.get("/api/credits/balance", headers=ANN)).json()
        assert (purchase["status"], balance["bonus"], balance["monthly"]) == ("credited", 200, 1)


async def test_a_mounted_router_guards_itself_and_serves_the_element(example: str) -> None:
    async with httpx2.AsyncClient(base_url=example, headers=ANN) as http:
        cross = await http.post(
            "/api/stripe/create-credit-checkout", json={}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert problem(cross) == (403, "cross_site")
        script = await http.get("/tallystick/credit-purchase.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "customElements.define" in script.text


def test_the_example_stays_short() -> None:
    assert len((ROOT / "examples" / "fastapi_app.py").read_text().splitlines()) < 60

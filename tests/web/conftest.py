"""The whole service in front of a running sandbox, driven over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert

from tallystick.billing import EventStatus
from tallystick.cli import house as houses
from tallystick.database.tables import stripe_events
from tallystick.domain.catalogue import Catalogue
from tests.web.backend import Backend, open_backend, put

PASSWORD = "correct horse battery"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[houses.House]:
    async with houses.open_house(tmp_path / "demo", port=0, sandbox_port=0) as running:
        yield running


@pytest.fixture
async def browser(house: houses.House) -> AsyncIterator[httpx2.AsyncClient]:
    async with new_browser(house) as made:
        yield made


@pytest.fixture
async def backend(tmp_path: Path, catalogue: Catalogue) -> AsyncIterator[Backend]:
    async with open_backend(tmp_path, catalogue.plans) as running:
        yield running


@pytest.fixture
async def api(backend: Backend) -> httpx2.AsyncClient:
    api = await backend.caller()
    assert (await put(api, "/v1/accounts/acme", {}, "open")).status_code == 200
    return api


@asynccontextmanager
async def new_browser(house: houses.House) -> AsyncIterator[httpx2.AsyncClient]:
    """What a browser sends from a page of the service itself."""
    headers = {"Origin": house.url, "Sec-Fetch-Site": "same-origin", "Accept": "text/html,*/*"}
    async with httpx2.AsyncClient(base_url=house.url, headers=headers, timeout=20) as made:
        yield made


async def sign_up(browser: httpx2.AsyncClient, email: str = "ann@example.com") -> str:
    """Returns the account id."""
    answer = await browser.post("/sign-up", data={"email": email, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return str((await browser.get("/api/credits/balance")).json()["account_id"])


async def make_plus(house: houses.House, account_id: str) -> None:
    await house.credits.set_plan(account_id, "plus", key="make-plus")


async def park_an_event(house: houses.House) -> str:
    """An event about a customer that nobody knows, parked; worked again, there is nothing to do. Returns its id."""
    now = house.credits.clock()
    parked = insert(stripe_events).values(
        id="evt_parked",
        type="customer.updated",
        payload='{"object": "event", "data": {"object": {"id": "cus_none"}}}',
        received_at=now,
        status=EventStatus.PARKED,
        attempts=12,
        last_error="It stumbled.",
        finished_at=now,
    )
    await house.credits.database.write(lambda connection: connection.execute(parked))
    return "evt_parked"


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert {"type", "title", "detail", "code"} <= set(body)
    return answer.status_code, body["code"]

"""The pages over HTTP: signing in and out safely, and that each says what it must."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from tallystick import Entry, EntryKind, Plan, Tallystick
from tallystick.cli import customers
from tallystick.cli.house import House
from tallystick.database.tables import sessions
from tallystick.domain.commands import ClawBack, GrantBonus, PlaceHold, Spend
from tallystick.domain.replay import LedgerMismatch
from tallystick.web.app import WebSettings, create_app
from tallystick.web.pages.entrance import local
from tallystick.web.views import entry_view, until
from tests.serving import serving
from tests.web.conftest import PASSWORD, make_plus, new_browser, park_an_event, problem, sign_up


async def test_signing_up_opens_an_account_with_its_first_monthly_credits(browser: httpx2.AsyncClient) -> None:
    await sign_up(browser)
    page = await browser.get("/dashboard")
    assert re.search(r'data-testid="monthly">25<', page.text)
    assert "Become PLUS" in page.text
    assert "Buy Extra Credits" not in page.text


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("/sign-up", data={"email": "ann@example.com", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert WebSettings("https://credits.example.com", "k").https


async def test_signing_in_starts_a_fresh_session_and_signing_out_ends_it(browser: httpx2.AsyncClient) -> None:
    await sign_up(browser)
    first = browser.cookies["tallystick_session"]
    answer = await browser.post(
        "/sign-in", data={"email": " Ann@Example.com ", "password": PASSWORD, "next": "/history"}
    )
    assert answer.headers["location"] == "/history"
    second = browser.cookies["tallystick_session"]
    assert second != first
    await browser.post("/sign-out")
    for stale in (first, second):
        page = await browser.get("/dashboard", headers={"Cookie": f"tallystick_session={stale}"})
        assert page.headers["location"] == "/sign-in?next=/dashboard"


async def test_a_session_in_use_lives_on_in_the_browser_too(house: House, browser: httpx2.AsyncClient) -> None:
    await sign_up(browser)
    assert "set-cookie" not in (await browser.get("/dashboard")).headers
    token = browser.cookies["tallystick_session"]
    shorter = update(sessions).values(expires_at=house.credits.clock() + timedelta(days=20))
    await house.credits.database.write(lambda connection: connection.execute(shorter))
    renewed = (await browser.get("/dashboard")).headers["set-cookie"]
    assert renewed.startswith(f"tallystick_session={token};")
    assert "Max-Age=2592000" in renewed
    kept = select(sessions.c.expires_at)
    expires_at = await house.credits.database.read(lambda connection: connection.execute(kept).scalar_one())
    assert expires_at > house.credits.clock() + timedelta(days=29)


@pytest.mark.parametrize("email", ["ann@example.com", "nobody@example.com"])
async def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(
    browser: httpx2.AsyncClient, email: str
) -> None:
    await sign_up(browser)
    answer = await browser.post("/sign-in", data={"email": email, "password": "wrong password"})
    assert answer.status_code == 401
    assert "do not fit together" in answer.text


async def test_sign_in_attempts_are_limited(browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where five minutes end between two attempts, one more is let through.
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=lambda: 1_800_000_000.0))
    answers = [
        await browser.post("/sign-in", data={"email": "ann@example.com", "password": "wrong password"})
        for _ in range(11)
    ]
    assert [a.status_code for a in answers] == [401] * 10 + [429]
    assert answers[-1].headers["retry-after"] == "300"


@pytest.mark.parametrize(
    ("email", "password", "complaint"),
    [
        ("ann", PASSWORD, "not an e-mail"),
        ("ann@example.com", "short", "10 to 200 characters"),
        ("taken@example.com", PASSWORD, "Sign in instead"),
    ],
)
async def test_what_cannot_be_signed_up_with_is_told(
    house: House, browser: httpx2.AsyncClient, email: str, password: str, complaint: str
) -> None:
    await house.users.create("taken@example.com", PASSWORD)
    answer = await browser.post("/sign-up", data={"email": email, "password": password})
    assert answer.status_code == 422
    assert complaint in answer.text
    assert password not in answer.text


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/history", "/history"),
        ("//evil.example", "/dashboard"),
        ("https://evil.example", "/dashboard"),
        ("/\\evil.example", "/dashboard"),
        ("/x\r\nSet-Cookie: a=b", "/dashboard"),
        ("", "/dashboard"),
    ],
)
def test_nobody_is_sent_to_another_site_after_signing_in(path: str, leads_to: str) -> None:
    assert local(path) == leads_to


@pytest.mark.parametrize(
    "path",
    [
        "/sign-in",
        "/sign-up",
        "/dashboard",
        "/history",
        "/settings",
        "/nothing",
        "/api/credits/balance",
        "/static/app.css",
    ],
)
async def test_every_answer_carries_security_headers(browser: httpx2.AsyncClient, path: str) -> None:
    await sign_up(browser)
    headers = (await browser.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


async def test_no_page_loads_anything_from_another_host(house: House, browser: httpx2.AsyncClient) -> None:
    await make_plus(house, await sign_up(browser))
    for path in ("/dashboard", "/settings", "/history", "/nothing"):
        text = (await browser.get(path)).text
        loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', text)
        assert loaded
        assert all(url.startswith("/") for url in loaded)
        assert "<script>" not in text
        assert "style=" not in text


async def test_forms_of_any_size_are_read_no_further_than_the_limit(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("/sign-in", data={"email": "x" * 2_000_000, "password": PASSWORD})
    assert answer.status_code == 413
    assert "larger than 1,048,576 bytes" in answer.text


async def test_a_nul_reaches_no_database(postgres_url: str) -> None:
    credits = Tallystick(
        postgres_url,
        plans=[Plan("free", allowance=25)],
        stripe_secret_key="sk_test_1",
        stripe_webhook_secrets=["whsec_1"],
        base_url="http://127.0.0.1:8000",
    )
    app = create_app(credits, WebSettings("http://127.0.0.1:8000", "k" * 40))
    form = {"email": "a\0@example.com", "password": PASSWORD}
    async with serving(app) as url, httpx2.AsyncClient(base_url=url, headers={"Accept": "text/html"}) as browser:
        await sign_up(browser)
        answers = [
            await browser.post("/sign-up", data=form),
            await browser.post("/sign-in", data=form),
            await browser.get("/purchases/return?session_id=a%00b"),
            await browser.get("/purchases/a%00b/progress"),
        ]
        assert [answer.status_code for answer in answers] == [422] * 4
        assert problem(await browser.get("/api/purchases/a%00b")) == (422, "invalid_input")
        assert (await browser.get("/dashboard")).status_code == 200


async def test_generate_works_without_scripts(browser: httpx2.AsyncClient) -> None:
    await sign_up(browser)
    whole = await browser.post("/generate", data={"key": "one"})
    part = await browser.post("/generate", data={"key": "two"}, headers={"HX-Request": "true"})
    assert "<html" in whole.text
    assert "Spent 3 credits" in whole.text
    assert "<html" not in part.text


async def test_generate_spends_once_per_button_and_says_what_it_drew_from(
    house: House, browser: httpx2.AsyncClient
) -> None:
    account_id = await sign_up(browser)
    await house.credits.grant(account_id, 10, key="g")
    await house.credits.spend(account_id, 23, key="s")
    for _ in range(2):
        page = await browser.post("/generate", data={"key": "one-button"})
        assert "Spent 3 credits: 2 monthly, 1 bonus" in page.text
    assert (await house.credits.balance(account_id)).available == 9


async def test_s11_too_few_credits_say_what_is_missing_and_what_to_do(
    house: House, browser: httpx2.AsyncClient
) -> None:
    account_id = await sign_up(browser)
    await house.credits.spend(account_id, 24, key="s")
    page = await browser.post("/generate", data={"key": "k"})
    assert "This needs 3 and you have 1. Nothing was spent." in page.text
    assert "Become PLUS below" in page.text
    assert (await house.credits.balance(account_id)).available == 1


async def test_s12_s24_settings_say_what_is_set_aside_and_what_is_owed(
    house: House, browser: httpx2.AsyncClient
) -> None:
    account_id = await sign_up(browser)
    quiet = (await browser.get("/settings")).text
    assert 'data-testid="held"' not in quiet
    assert 'data-testid="debt"' not in quiet
    ledger = house.credits.ledger
    grant = (await ledger.submit(GrantBonus(account_id=account_id, key="g", credits=40))).entry
    await ledger.submit(Spend(account_id=account_id, key="s", amount=58))
    await ledger.submit(PlaceHold(account_id=account_id, key="h", amount=7))
    await ledger.submit(ClawBack(account_id=account_id, key="c", grant=grant.seq, total=40, version=1))
    page = (await browser.get("/settings")).text
    assert re.search(r'data-testid="held">7 credits are set aside', page)
    assert re.search(r'data-testid="debt">40 credits were taken back', page)
    assert "40 more had been used and are owed" in (await browser.get("/history")).text


async def test_the_operator_page_is_for_operators(house: House, browser: httpx2.AsyncClient) -> None:
    await customers.seed(house)
    await sign_up(browser)
    assert (await browser.get("/operator")).status_code == 403
    async with new_browser(house) as operator:
        await operator.post("/sign-in", data={"email": customers.OPERATOR, "password": customers.PASSWORD})
        page = await operator.get("/operator")
        assert page.status_code == 200
        assert "Every payment agrees with its purchase" in page.text


async def test_s28_an_operator_and_nobody_else_replays_a_parked_event_on_the_page(
    house: House, browser: httpx2.AsyncClient
) -> None:
    await house.users.create(customers.OPERATOR, PASSWORD, is_operator=True)
    await sign_up(browser)
    parked = await park_an_event(house)
    path = f"/operator/events/{parked}/replay"
    assert (await browser.post(path)).status_code == 403
    async with new_browser(house) as operator:
        assert (await operator.post(path)).headers["location"] == "/sign-in"
        await operator.post("/sign-in", data={"email": customers.OPERATOR, "password": PASSWORD})
        page = await operator.get("/operator")
        assert (
            f'action="{path}"><button class="btn btn-outline btn-sm" aria-label="Replay event {parked}"' in page.text
        )
        elsewhere = {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}
        assert (await operator.post(path, headers=elsewhere)).status_code == 403
        assert (await house.credits.billing.event_story(parked)).event.status == "parked"
        assert (await operator.post("/operator/events/evt_none/replay")).status_code == 404
        answer = await operator.post(path)
        assert answer.headers["location"] == f"/operator?seen_to={parked}#parked"
        page = await operator.get(answer.headers["location"])
        assert f"Event <code>{parked}</code> was worked again. It is done." in page.text
        assert re.search(r'data-testid="parked-count">0<', page.text)
        assert (await operator.get("/operator?seen_to=evt_none")).status_code == 200


async def test_s28_an_operator_and_nobody_else_dismisses_a_parked_event_and_says_why(
    house: House, browser: httpx2.AsyncClient
) -> None:
    await house.users.create(customers.OPERATOR, PASSWORD, is_operator=True)
    await sign_up(browser)
    parked = await park_an_event(house)
    path, why = f"/operator/events/{parked}/dismiss", {"reason": "Refunded <by hand>"}
    assert (await browser.post(path, data=why)).status_code == 403
    async with new_browser(house) as operator:
        await operator.post("/sign-in", data={"email": customers.OPERATOR, "password": PASSWORD})
        for nothing in ({}, {"reason": " "}):
            answer = await operator.post(path, data=nothing)
            assert (answer.status_code, "Give a reason" in answer.text) == (422, True)
        assert (await house.credits.billing.event_story(parked)).event.status == "parked"
        answer = await operator.post(path, data=why)
        assert answer.headers["location"] == f"/operator?seen_to={parked}#parked"
        page = (await operator.get(answer.headers["location"])).text
        assert f"Event <code>{parked}</code> was dismissed, and is not tried again" in page
        assert "Dismissed: Refunded &lt;by hand&gt;" in page
        assert re.search(r'data-testid="parked-count">0<', page)
        again = await operator.post(path, data=why)
        assert (again.status_code, "is dismissed" in again.text) == (422, True)


@pytest.mark.parametrize("error", [RuntimeError("the inside"), LedgerMismatch("the inside")], ids=repr)
async def test_an_error_on_our_side_is_noted_and_shows_nothing_of_its_inside(
    house: House, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await sign_up(browser)

    async def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(house.credits, "entries", broken)
    # To render the locals of every frame takes half a minute.
    with capture_logs() as logs:
        page = await browser.get("/history")
        api = await browser.get("/api/credits/entries")
    assert page.status_code == 500
    assert "we have noted it as" in page.text
    assert "the inside" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert api.json()["code"] == "internal_error"
    assert "the inside" not in api.text
    noted = [log["incident"] for log in logs if log["event"] == "internal_error"]
    assert noted[0] in page.text
    assert noted[1] == api.json()["incident"]


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        # A minute less than thirty days is thirty on the calendar.
        (datetime(2026, 12, 28, 11, 58, tzinfo=UTC), "in 30 days"),
        (datetime(2026, 11, 29, 11, 59, tzinfo=UTC), "in 1 day"),
        (datetime(2026, 11, 29, 11, 58, tzinfo=UTC), "in 23 hours"),
        (datetime(2026, 11, 28, 12, 0, tzinfo=UTC), "in 1 minute"),
        (datetime(2026, 11, 28, 11, 59, 30, tzinfo=UTC), "in a moment"),
        (datetime(2026, 11, 27, tzinfo=UTC), "in a moment"),
    ],
)
def test_how_far_away_an_instant_is_agrees_with_the_date_beside_it(instant: datetime, words: str) -> None:
    assert until(instant, datetime(2026, 11, 28, 11, 59, tzinfo=UTC)) == words


@pytest.mark.parametrize("kind", list(EntryKind))
def test_every_kind_of_entry_has_words_in_the_history(kind: EntryKind) -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    entry = Entry("a", 1, kind, 0, 0, 0, 0, 0, noon, noon)
    assert entry_view(entry).title

"""The /v1 API as another back end uses it: over HTTP, with a secret key."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tallystick import Plan, Tallystick
from tallystick.api_keys import Scope
from tallystick.cli.house import House
from tallystick.web.v1 import openapi_document
from tests.web.conftest import problem

OPENAPI = Path(__file__).parents[2] / "docs" / "openapi.json"
Client = Callable[..., Awaitable[httpx2.AsyncClient]]


@pytest.fixture
async def client(house: House) -> AsyncIterator[Client]:
    made: list[httpx2.AsyncClient] = []

    async def new(*scopes: Scope) -> httpx2.AsyncClient:
        _, secret = await house.credits.api_keys.create("test", frozenset(scopes or [Scope.ADMIN]))
        client = httpx2.AsyncClient(base_url=house.url, headers={"Authorization": f"Bearer {secret}"}, timeout=20)
        made.append(client)
        return client

    yield new
    for one in made:
        await one.aclose()


@pytest.fixture
async def api(client: Client) -> httpx2.AsyncClient:
    api = await client()
    assert (await put(api, "/v1/accounts/acme", {}, "open")).status_code == 200
    return api


async def put(api: httpx2.AsyncClient, path: str, body: Any, key: str) -> Any:
    return await api.put(path, json=body, headers={"Idempotency-Key": key})


async def post(api: httpx2.AsyncClient, path: str, body: Any, key: str) -> Any:
    return await api.post(path, json=body, headers={"Idempotency-Key": key})


async def test_an_account_is_opened_spent_from_and_read(api: httpx2.AsyncClient) -> None:
    spent = await post(api, "/v1/accounts/acme/spends", {"amount": 3, "operation": "generate"}, "k1")
    assert spent.status_code == 201
    assert (spent.json()["amount"], spent.json()["available"]) == (-3, 22)
    account = (await api.get("/v1/accounts/acme")).json()
    assert (account["monthly"], account["bonus"], account["available"], account["plan"]) == (22, 0, 22, "free")
    assert account["expiries"] == [{"credits": 22, "expires_at": account["resets_at"]}]
    page = (await api.get("/v1/accounts/acme/entries?limit=1")).json()
    assert ([e["seq"] for e in page["entries"]], page["next_before"]) == ([2], 2)
    rest = (await api.get("/v1/accounts/acme/entries?limit=1&before=2")).json()
    assert ([e["kind"] for e in rest["entries"]], rest["next_before"]) == (["account_opened"], None)
    only = (await api.get("/v1/accounts/acme/entries?kind=spent")).json()
    assert [e["key"] for e in only["entries"]] == ["k1"]


async def test_s7_a_repeated_write_is_replayed_and_a_reused_key_refused(api: httpx2.AsyncClient) -> None:
    path = "/v1/accounts/acme/spends"
    first = await post(api, path, {"amount": 3}, "k1")
    again = await post(api, path, {"amount": 3}, "k1")
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert problem(await post(api, path, {"amount": 4}, "k1")) == (422, "idempotency_conflict")
    assert problem(await api.post(path, json={"amount": 4})) == (400, "idempotency_key_missing")


async def test_s11_insufficient_credits_say_what_is_missing_and_where_to_buy(
    api: httpx2.AsyncClient, house: House
) -> None:
    await house.credits.set_plan("acme", "plus", key="plus")
    answer = await post(api, "/v1/accounts/acme/spends", {"amount": 10_000}, "k1")
    assert problem(answer) == (402, "insufficient_credits")
    body = answer.json()
    assert (body["required"], body["available"], body["buy_at"]) == (10_000, 25, f"{house.url}/dashboard")


async def test_s12_a_hold_is_captured_once(api: httpx2.AsyncClient) -> None:
    held = (await post(api, "/v1/accounts/acme/holds", {"amount": 20, "seconds": 60}, "h1")).json()
    assert (held["amount"], held["entry"]["available"]) == (20, 5)
    path = f"/v1/accounts/acme/holds/{held['id']}"
    captured = await post(api, f"{path}/capture", {"amount": 7}, "c1")
    assert (captured.json()["amount"], captured.json()["available"]) == (-7, 18)
    assert problem(await post(api, f"{path}/release", None, "r1")) == (409, "hold_not_open")
    other = (await post(api, "/v1/accounts/acme/holds", {"amount": 5}, "h2")).json()
    released = await post(api, f"/v1/accounts/acme/holds/{other['id']}/release", None, "r2")
    assert released.json()["available"] == 18


async def test_s13_a_spend_is_reversed_once(api: httpx2.AsyncClient) -> None:
    spent = (await post(api, "/v1/accounts/acme/spends", {"amount": 3}, "k1")).json()
    path = f"/v1/accounts/acme/spends/{spent['seq']}/reverse"
    reversed_ = await post(api, path, {"reason": "failed"}, "r1")
    assert (reversed_.status_code, reversed_.json()["available"]) == (201, 25)
    assert problem(await post(api, path, None, "r2")) == (409, "already_reversed")
    assert problem(await post(api, "/v1/accounts/acme/spends/99/reverse", None, "r3")) == (404, "unknown_entry")


async def test_grants_and_removals_by_hand(api: httpx2.AsyncClient) -> None:
    granted = await post(api, "/v1/accounts/acme/grants", {"credits": 50, "kind": "gifted"}, "g1")
    assert (granted.status_code, granted.json()["bonus"]) == (201, 50)
    removed = await post(api, "/v1/accounts/acme/removals", {"amount": 10, "reason": "too many"}, "x1")
    assert removed.json()["available"] == 65
    naive = {"credits": 5, "expires_at": "2030-01-01T00:00:00"}
    assert problem(await post(api, "/v1/accounts/acme/grants", naive, "g2")) == (422, "invalid_input")


async def test_a_batch_answers_each_spend_by_itself(api: httpx2.AsyncClient) -> None:
    spends = [
        {"account_id": "acme", "key": "b1", "amount": 3},
        {"account_id": "acme", "key": "b2", "amount": 30},
        {"account_id": "nobody", "key": "b3", "amount": 1},
        {"account_id": "acme", "key": "b1", "amount": 3},
        {"account_id": "acme", "key": "with space", "amount": 3},
    ]
    results = (await api.post("/v1/spends:batch", json={"spends": spends})).json()["results"]
    assert [result["status"] for result in results] == [201, 402, 404, 201, 422]
    assert (results[0]["replayed"], results[3]["replayed"]) == (False, True)
    assert results[1]["problem"]["code"] == "insufficient_credits"
    assert (await api.get("/v1/accounts/acme")).json()["available"] == 22
    too_many = {"spends": [{"account_id": "acme", "key": f"k{n}", "amount": 1} for n in range(1_001)]}
    assert problem(await api.post("/v1/spends:batch", json=too_many)) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("scope", "path", "body", "status"),
    [
        (Scope.SPEND, "/v1/accounts/acme/spends", b'{"amount":3,"operation":"a"}', 201),
        (Scope.SPEND, "/v1/accounts/acme/spends", b'{"amount":10000}', 402),
        (Scope.SPEND, "/v1/accounts/nobody/spends", b'{"amount":3}', 404),
        (Scope.SPEND, "/v1/accounts/with%20space/spends", b'{"amount":3}', 422),
        (Scope.SPEND, "/v1/accounts/acme/spends", b'{"amount":3,"more":1}', 422),
        (Scope.SPEND, "/v1/accounts/acme/spends", b'{"amount":3,"operation":"\\ud800"}', 422),
        (Scope.SPEND, "/v1/accounts/acme/spends", b'{"amount":', 400),
        (Scope.SPEND, "/v1/accounts/acme/spends", b"[" * 100_000, 400),
        (Scope.SPEND, "/v1/accounts/acme/spends", b'"' + b"x" * 2_000_000 + b'"', 413),
        (Scope.READ, "/v1/accounts/acme/spends", b'{"amount":3}', 403),
        (Scope.READ, "/v1/accounts/acme/spends", b'{"amount":0}', 403),
        (Scope.SPEND, "/v1/spends:batch", b'{"spends":[{"account_id":"acme","key":"b","amount":1}]}', 200),
        (Scope.SPEND, "/v1/spends:batch", b'{"spends":[]}', 422),
        (Scope.READ, "/v1/spends:batch", b'{"spends":[{"account_id":"acme","key":"b","amount":1}]}', 403),
    ],
)
async def test_the_quick_way_answers_what_the_declared_way_answers(
    api: httpx2.AsyncClient, client: Client, scope: Scope, path: str, body: bytes, status: int
) -> None:
    caller = await client(scope)
    answers = [
        await caller.post(path, content=body, headers={"Idempotency-Key": "k1", "Content-Type": sent_as})
        # Only the first of them is plain enough for the quick way.
        for sent_as in ("application/json", "application/json; charset=utf-8", "application/json")
    ]
    assert [answer.status_code for answer in answers] == [status] * 3
    quick, declared, again = [answer.text.replace('"replayed":true', '"replayed":false') for answer in answers]
    assert quick == declared == again
    assert {name for name, _ in answers[1].headers.items()} == {name for name, _ in answers[2].headers.items()}
    assert (await api.get("/v1/accounts/acme")).json()["available"] == {"spends": 22, "batch": 24}.get(
        path.rpartition("/")[2].removeprefix("spends:") if status in (200, 201) else "", 25
    )


@pytest.mark.parametrize("amount", [0, -1, 1.5, True, "3", 10**12 + 1, None])
async def test_s1_what_is_not_a_whole_number_of_credits_changes_nothing(
    api: httpx2.AsyncClient, amount: object
) -> None:
    assert problem(await post(api, "/v1/accounts/acme/spends", {"amount": amount}, "k1")) == (422, "invalid_input")
    assert (await api.get("/v1/accounts/acme")).json()["available"] == 25


async def test_s7_a_put_is_replayed_and_its_key_belongs_to_one_request(api: httpx2.AsyncClient) -> None:
    path = "/v1/accounts/acme"
    first = await put(api, path, {"plan": "plus"}, "p1")
    again = await put(api, path, {"plan": "plus"}, "p1")
    assert (first.json()["plan"], "idempotent-replayed" in first.headers) == ("plus", False)
    assert (again.json()["plan"], again.headers["idempotent-replayed"]) == ("plus", "true")
    assert problem(await put(api, path, {"plan": "free"}, "p1")) == (422, "idempotency_conflict")
    assert problem(await put(api, path, {}, "p1")) == (422, "idempotency_conflict")
    assert problem(await put(api, path, {"plan": "gold"}, "p2")) == (404, "unknown_plan")
    await post(api, f"{path}/spends", {"amount": 3}, "k1")
    assert problem(await put(api, path, {"plan": "free"}, "k1")) == (422, "idempotency_conflict")
    assert (await api.get(path)).json()["plan"] == "plus"


async def test_s7_a_put_that_is_repeated_late_does_not_undo_what_came_after_it(api: httpx2.AsyncClient) -> None:
    """Also when it found nothing to do the first time: the key says that it was done."""
    path = "/v1/accounts/acme"
    assert "idempotent-replayed" not in (await put(api, path, {"plan": "free"}, "late")).headers
    await put(api, path, {"plan": "plus"}, "p1")
    again = await put(api, path, {"plan": "free"}, "late")
    assert (again.json()["plan"], again.headers["idempotent-replayed"]) == ("plus", "true")


async def test_s7_the_put_that_opened_an_account_is_replayed(api: httpx2.AsyncClient) -> None:
    path = "/v1/accounts/new"
    assert "idempotent-replayed" not in (await put(api, path, {"plan": "free"}, "o1")).headers
    assert (await put(api, path, {"plan": "free"}, "o1")).headers["idempotent-replayed"] == "true"
    assert problem(await put(api, path, {"plan": "plus"}, "o1")) == (422, "idempotency_conflict")
    # Without a plan it only asks that the account be there, and changes nothing that would need a key.
    assert (await put(api, path, {}, "o2")).json()["plan"] == "free"
    assert len((await api.get(f"{path}/entries")).json()["entries"]) == 1
    answers = await asyncio.gather(*(put(api, "/v1/accounts/many", {"plan": "plus"}, f"m{n}") for n in range(8)))
    assert {answer.json()["plan"] for answer in answers} == {"plus"}
    entries = (await api.get("/v1/accounts/many/entries")).json()["entries"]
    assert sorted(e["key"] for e in entries) == [f"m{n}" for n in range(8)]


async def test_s12_a_hold_is_extended_over_http(api: httpx2.AsyncClient) -> None:
    held = (await post(api, "/v1/accounts/acme/holds", {"amount": 20, "seconds": 60}, "h1")).json()
    path = f"/v1/accounts/acme/holds/{held['id']}/extend"
    more = await post(api, path, {"amount": 5, "seconds": 3600}, "x1")
    assert (more.status_code, more.json()["held"], more.json()["hold"]) == (201, 25, held["id"])
    assert more.json()["hold_until"] > held["expires_at"]
    assert (await post(api, path, {"amount": 5, "seconds": 3600}, "x1")).headers["idempotent-replayed"] == "true"
    assert problem(await post(api, path, {"amount": 1}, "x2")) == (402, "insufficient_credits")
    assert problem(await post(api, path, {}, "x3")) == (422, "invalid_input")
    assert problem(await post(api, "/v1/accounts/acme/holds/99/extend", {"seconds": 60}, "x4")) == (
        409,
        "hold_not_open",
    )


async def test_keys_are_scoped_revocable_and_required(house: House, client: Client, api: httpx2.AsyncClient) -> None:
    reader = await client(Scope.READ)
    assert (await reader.get("/v1/accounts/acme")).status_code == 200
    assert problem(await post(reader, "/v1/accounts/acme/spends", {"amount": 1}, "k")) == (403, "missing_scope")
    spender = await client(Scope.SPEND)
    assert problem(await spender.get("/v1/accounts/acme")) == (403, "missing_scope")
    assert problem(await post(spender, "/v1/accounts/acme/grants", {"credits": 1}, "k")) == (403, "missing_scope")
    async with httpx2.AsyncClient(base_url=house.url) as nobody:
        answer = await nobody.get("/v1/accounts/acme")
        assert problem(answer) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        wrong = await nobody.get("/v1/accounts/acme", headers={"Authorization": "Bearer tsk_wrong"})
        assert problem(wrong) == (401, "invalid_api_key")
    keys = await house.credits.api_keys.list()
    assert keys[1].last_used_at is not None
    await house.credits.api_keys.revoke(keys[1].id)
    assert problem(await reader.get("/v1/accounts/acme")) == (401, "invalid_api_key")


async def test_s9_concurrent_spends_over_http_succeed_exactly_as_often_as_there_are_credits(
    api: httpx2.AsyncClient,
) -> None:
    answers = await asyncio.gather(
        *(post(api, "/v1/accounts/acme/spends", {"amount": 1}, f"k{n}") for n in range(40))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 25 + [402] * 15


def test_the_committed_openapi_file_is_what_the_api_says_of_itself(tmp_path: Path) -> None:
    credits = Tallystick(f"sqlite:///{tmp_path}/x.db", plans=[Plan("free", 25)])
    document = openapi_document(credits)
    assert json.loads(OPENAPI.read_text()) == document, "write it anew with: tallystick openapi > docs/openapi.json"
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (path, method)
            assert operation["security"] == [{"apiKey": []}], (path, method)

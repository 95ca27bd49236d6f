"""Ids in addresses of /v1: an account's may hold any visible ASCII character, as the library takes it."""

from urllib.parse import quote

import httpx2
import pytest

from tallystick.api_keys import Scope
from tallystick.cli.house import House
from tests.web.backend import Backend, calling, post, put
from tests.web.conftest import problem

IDS = [
    "org/42",
    "/",
    "a//b",
    "org/",
    "/org",
    "org%2F42",
    "org%252F42",
    "org%",
    "a?b#c",
    "acme/entries",
    "a+b",
    "".join(map(chr, range(0x21, 0x7F))),
]


def at(id: str, rest: str = "") -> str:
    return f"/v1/accounts/{quote(id, safe='')}{rest}"


@pytest.mark.parametrize("id", IDS)
async def test_an_account_is_reached_under_any_id_and_no_other_account_with_it(
    api: httpx2.AsyncClient, backend: Backend, id: str
) -> None:
    opened = await put(api, at(id), {"plan": "free"}, "open")
    assert (opened.status_code, opened.json()["id"]) == (200, id)
    quickly = await post(api, at(id, "/spends"), {"amount": 3}, "k1")
    declared = await api.post(at(id, "/spends"), content=b'{"amount":2}', headers={"Idempotency-Key": "k2"})
    assert [(answer.status_code, answer.json()["account_id"]) for answer in (quickly, declared)] == [(201, id)] * 2
    assert (await post(api, at(id, "/spends/2/reverse"), {}, "r1")).json()["reverses"] == 2
    hold = (await post(api, at(id, "/holds"), {"amount": 5}, "h1")).json()["id"]
    assert (await post(api, at(id, f"/holds/{hold}/release"), None, "x1")).status_code == 201
    assert (await api.get(at(id))).json()["available"] == 23
    entries = (await api.get(at(id, "/entries?limit=1"))).json()["entries"]
    assert (entries[0]["account_id"], entries[0]["kind"]) == (id, "released")
    assert (await backend.credits.balance(id)).available == 23
    assert (await backend.credits.balance("acme")).available == 25


async def test_an_address_is_the_same_however_its_letters_are_encoded(api: httpx2.AsyncClient) -> None:
    await put(api, at("org/e"), {}, "open")
    for address in ("/v1/accounts/org%2Fe", "/v1/accounts/org%2fe", "/v1/%61ccounts/%6Frg%2f%65"):
        answer = await api.get(address)
        assert (answer.status_code, answer.json()["id"]) == (200, "org/e"), address
    spends = {"spends": [{"account_id": "org/e", "key": "b1", "amount": 1}]}
    assert (await api.post("/v1/spends%3Abatch", json=spends)).json()["results"][0]["status"] == 201


async def test_what_is_in_an_address_and_no_id_is_refused_in_the_same_words(api: httpx2.AsyncClient) -> None:
    for wrong in ("with%20space", "a%2F%00", "%00", "%C3%A9%2F"):
        answer = await post(api, f"/v1/accounts/{wrong}/spends", {"amount": 1}, "k1")
        assert problem(answer) == (422, "invalid_input"), wrong
    answer = await post(api, "/v1/accounts/acme/holds/3%2F4/release", None, "k1")
    assert problem(answer) == (422, "invalid_input")
    assert problem(await api.get("/v1/purchases/pur_1%2F2/refund-quote")) == (404, "unknown_purchase")


async def test_the_service_itself_reaches_an_account_with_a_slash_in_its_id(house: House) -> None:
    _, secret = await house.credits.api_keys.create("test", frozenset([Scope.ADMIN]))
    async with calling(None, house.url, secret) as api:
        assert (await put(api, at("org/42"), {}, "open")).json()["id"] == "org/42"
        assert (await post(api, at("org/42", "/spends"), {"amount": 3}, "k1")).json()["account_id"] == "org/42"
    async with httpx2.AsyncClient(base_url=house.url) as anybody:
        answer = await anybody.patch(at("org/42"))
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT")
        assert problem(await anybody.get("/v1/accounts%2Facme")) == (404, "not_found")

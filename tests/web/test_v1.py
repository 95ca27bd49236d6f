"""The /v1 API as another back end uses it: over HTTP, with a secret key."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from structlog.testing import capture_logs

from tallystick import Tallystick
from tallystick.api_keys import Scope
from tallystick.cli.customers import pay
from tallystick.cli.house import House
from tallystick.database.engine import DatabaseUnavailable
from tallystick.web import v1_putting
from tallystick.web.v1_examples import DASHBOARD, EXAMPLES
from tests.web.backend import Backend, calling, post, put
from tests.web.conftest import problem


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
    # One that was mistyped would give the first page for ever.
    assert problem(await api.get("/v1/accounts/acme/entries?limit=1&after=2")) == (422, "invalid_input")


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
    api: httpx2.AsyncClient, backend: Backend
) -> None:
    await backend.credits.set_plan("acme", "plus", key="plus")
    answer = await post(api, "/v1/accounts/acme/spends", {"amount": 10_000}, "k1")
    assert problem(answer) == (402, "insufficient_credits")
    body = answer.json()
    assert (body["required"], body["available"], body["buy_at"]) == (10_000, 25, DASHBOARD)


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


async def test_s13_what_cannot_be_reversed_is_named_as_it_is_in_the_ledger(api: httpx2.AsyncClient) -> None:
    answer = await post(api, "/v1/accounts/acme/spends/1/reverse", None, "r1")
    assert problem(answer) == (409, "not_reversible")
    assert answer.json()["detail"].startswith("Entry 1 is 'account_opened'; only spends")
    assert answer.json()["kind"] == "account_opened"


async def test_grants_and_removals_by_hand(api: httpx2.AsyncClient) -> None:
    granted = await post(api, "/v1/accounts/acme/grants", {"credits": 50, "kind": "gifted"}, "g1")
    assert (granted.status_code, granted.json()["bonus"]) == (201, 50)
    removed = await post(api, "/v1/accounts/acme/removals", {"amount": 10, "reason": "too many"}, "x1")
    assert removed.json()["available"] == 65


async def test_s2_an_instant_is_written_as_rfc_3339_has_it_and_nothing_else_is_taken(api: httpx2.AsyncClient) -> None:
    path = "/v1/accounts/acme/grants"
    for wrong in (
        1893456000,
        1893456000000,
        1893456000.5,
        True,
        "1893456000",
        "-1893456000",
        "1893456000.5",
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-01-01T00:00Z",
        "2030-01-01T00:00:00+0100",
        "2030-02-30T00:00:00Z",
        "٢٠٣٠-01-01T00:00:00Z",
        "",
    ):
        for name in ("effective_at", "expires_at"):
            answer = await post(api, path, {"credits": 5, name: wrong}, "g1")
            assert problem(answer) == (422, "invalid_input"), wrong
            assert f"body.{name}: " in answer.json()["detail"]
    assert (await api.get("/v1/accounts/acme")).json()["bonus"] == 0
    for n, right in enumerate(
        ("2130-01-01T01:00:00+01:00", "2130-01-01t00:00:00.000z", "2130-01-01 00:00:00Z", "2129-12-31T19:00:00-05:00")
    ):
        assert (await post(api, path, {"credits": 5, "expires_at": right}, f"g{n}")).status_code == 201, right
    account = (await api.get("/v1/accounts/acme")).json()
    lapses = [(e["credits"], e["expires_at"]) for e in account["expiries"] if e["expires_at"] > "2100"]
    assert lapses == [(5, "2130-01-01T00:00:00Z")] * 4


async def test_the_quick_way_answers_what_the_declared_way_answers(api: httpx2.AsyncClient, backend: Backend) -> None:
    spender, reader = await backend.caller(Scope.SPEND), await backend.caller(Scope.READ)
    for n, (caller, path, body, status) in enumerate(
        [
            (spender, "/v1/accounts/acme/spends", b'{"amount":3,"operation":"a"}', 201),
            (spender, "/v1/accounts/acme/spends", b'{"amount":10000}', 402),
            (spender, "/v1/accounts/nobody/spends", b'{"amount":3}', 404),
            (spender, "/v1/accounts/with%20space/spends", b'{"amount":3}', 422),
            (spender, "/v1/accounts/with%00nul/spends", b'{"amount":3}', 422),
            (spender, "/v1/accounts/acme/spends?a=%00", b'{"amount":3}', 422),
            (spender, "/v1/accounts/acme/spends", b'{"amount":3,"more":1}', 422),
            (spender, "/v1/accounts/acme/spends", b'{"amount":3,"operation":"\\ud800"}', 422),
            (spender, "/v1/accounts/acme/spends", b'{"amount":', 400),
            (spender, "/v1/accounts/acme/spends", b"[" * 100_000, 400),
            (spender, "/v1/accounts/acme/spends", b'{"amount":' + b"9" * 5_000 + b"}", 400),
            (spender, "/v1/accounts/acme/spends", b'{"amount":' + b"9" * 4_000 + b"}", 422),
            (spender, "/v1/accounts/acme/spends", b'"' + b"x" * 2_000_000 + b'"', 413),
            (reader, "/v1/accounts/acme/spends", b'{"amount":3}', 403),
            (reader, "/v1/accounts/acme/spends", b'{"amount":0}', 403),
            (spender, "/v1/spends:batch", b'{"spends":[{"account_id":"acme","key":"b","amount":1}]}', 200),
            (spender, "/v1/spends:batch", b'{"spends":[{"account_id":"acme","key":"z","amount":0}]}', 200),
            (spender, "/v1/spends:batch", b'{"spends":[]}', 422),
            (reader, "/v1/spends:batch", b'{"spends":[{"account_id":"acme","key":"c","amount":1}]}', 403),
        ]
    ):
        answers = [
            await caller.post(path, content=body, headers={"Idempotency-Key": f"k{n}"} | sent_as)
            for sent_as in (
                # Only the first of them is plain enough for the quick way.
                {"Content-Type": "application/json"},
                {"Content-Type": "application/json; charset=utf-8"},
                {},
                {"Content-Type": "application/json"},
            )
        ]
        assert [answer.status_code for answer in answers] == [status] * 4, (path, body[:99])
        assert len({answer.text.replace('"replayed":true', '"replayed":false') for answer in answers}) == 1
        assert set(answers[1].headers) == set(answers[2].headers) == set(answers[3].headers)
    assert (await api.get("/v1/accounts/acme")).json()["available"] == 25 - 3 - 1


async def test_a_body_in_several_parts_is_taken_as_one(api: httpx2.AsyncClient, backend: Backend) -> None:
    spender = await backend.caller(Scope.SPEND)

    async def parts(*sent: bytes) -> AsyncIterator[bytes]:
        for part in sent:
            yield part

    for n, (sent, status) in enumerate(
        [((b'{"amo', b'unt":', b"3}"), 201), ((b'{"amo', b'unt":'), 400), ((b'"', *[b"x" * 600_000] * 4, b'"'), 413)]
    ):
        json_is_sent = {"Content-Type": "application/json", "Idempotency-Key": f"k{n}"}
        answer = await spender.post("/v1/accounts/acme/spends", content=parts(*sent), headers=json_is_sent)
        assert answer.status_code == status, answer.text


async def test_s1_what_is_not_a_whole_number_of_credits_changes_nothing(api: httpx2.AsyncClient) -> None:
    for amount in (0, -1, 1.5, True, "3", 10**12 + 1, None):
        answer = await post(api, "/v1/accounts/acme/spends", {"amount": amount}, "k1")
        assert problem(answer) == (422, "invalid_input"), amount
    assert (await api.get("/v1/accounts/acme")).json()["available"] == 25


async def test_s1_a_number_of_thousands_of_digits_is_told_so(api: httpx2.AsyncClient) -> None:
    for path, body in (
        ("/v1/accounts/acme/spends", b'{"amount":%s}'),
        ("/v1/accounts/acme/grants", b'{"credits":-%s}'),
        ("/v1/spends:batch", b'{"spends":[{"account_id":"acme","key":"b","amount":%s}]}'),
    ):
        sent_as = {"Content-Type": "application/json", "Idempotency-Key": "k1"}
        answer = await api.post(path, content=body % (b"9" * 5_000), headers=sent_as)
        assert problem(answer) == (400, "malformed_json"), path
        assert "a number in it has thousands of digits" in answer.json()["detail"]
    assert (await api.get("/v1/accounts/acme")).json()["available"] == 25


async def test_what_is_not_json_is_told_so_and_changes_nothing(api: httpx2.AsyncClient) -> None:
    """As `curl -d` sends it when nobody says what it is."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": "k1"}
    for path, body in (
        ("/v1/accounts/acme/spends", b'{"amount":3}'),
        ("/v1/accounts/acme/holds", b'{"amount":3}'),
        ("/v1/accounts/acme/spends/1/reverse", b'{"reason":"x"}'),
        ("/v1/spends:batch", b'{"spends":[{"account_id":"acme","key":"b","amount":1}]}'),
    ):
        answer = await api.post(path, content=body, headers=form)
        assert problem(answer) == (415, "unsupported_media_type"), path
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


async def test_s7_a_put_keeps_its_reason_also_where_it_opens_the_account(api: httpx2.AsyncClient) -> None:
    path, asked = "/v1/accounts/new", {"plan": "free", "reason": "moved here"}
    assert (await put(api, path, asked, "o1")).status_code == 200
    assert (await put(api, path, asked, "o1")).headers["idempotent-replayed"] == "true"
    assert problem(await put(api, path, asked | {"reason": "another"}, "o1")) == (422, "idempotency_conflict")
    (entry,) = (await api.get(f"{path}/entries")).json()["entries"]
    assert (entry["kind"], entry["reason"]) == ("account_opened", "moved here")


@pytest.mark.parametrize("looks_first", [True, False])
async def test_s7_a_put_whose_twin_opens_the_account_in_between_is_a_replay(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, looks_first: bool
) -> None:
    is_open, waits, twin = v1_putting._is_open, asyncio.Event(), asyncio.Event()

    async def slow(credits: Tallystick, id: str) -> bool:
        monkeypatch.undo()
        before = await is_open(credits, id)
        waits.set()
        await twin.wait()
        return before if looks_first else await is_open(credits, id)

    monkeypatch.setattr(v1_putting, "_is_open", slow)
    path, asked = "/v1/accounts/new", {"plan": "plus"}
    late = asyncio.create_task(put(api, path, asked, "o1"))
    await waits.wait()
    first = await put(api, path, asked, "o1")
    twin.set()
    assert (first.status_code, (await late).status_code) == (200, 200)
    assert (await late).headers["idempotent-replayed"] == "true"


async def test_s7_the_put_that_opened_an_account_is_replayed(api: httpx2.AsyncClient) -> None:
    path = "/v1/accounts/new"
    assert "idempotent-replayed" not in (await put(api, path, {"plan": "free"}, "o1")).headers
    assert (await put(api, path, {"plan": "free"}, "o1")).headers["idempotent-replayed"] == "true"
    assert problem(await put(api, path, {"plan": "plus"}, "o1")) == (422, "idempotency_conflict")
    assert problem(await put(api, "/v1/accounts/other", {"plan": ""}, "o1")) == (422, "invalid_input")
    assert problem(await put(api, path, {}, "with space")) == (422, "invalid_input")
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


async def test_keys_are_scoped_revocable_and_required(backend: Backend, api: httpx2.AsyncClient) -> None:
    reader = await backend.caller(Scope.READ)
    assert (await reader.get("/v1/accounts/acme")).status_code == 200
    assert problem(await post(reader, "/v1/accounts/acme/spends", {"amount": 1}, "k")) == (403, "missing_scope")
    spender = await backend.caller(Scope.SPEND)
    assert problem(await spender.get("/v1/accounts/acme")) == (403, "missing_scope")
    assert problem(await post(spender, "/v1/accounts/acme/grants", {"credits": 1}, "k")) == (403, "missing_scope")
    async with calling(httpx2.ASGITransport(backend.app), "http://v1", "") as nobody:
        answer = await nobody.get("/v1/accounts/acme")
        assert problem(answer) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        wrong = await nobody.get("/v1/accounts/acme", headers={"Authorization": "Bearer tsk_wrong"})
        assert problem(wrong) == (401, "invalid_api_key")
    keys = await backend.credits.api_keys.list()
    assert keys[1].last_used_at is not None
    await backend.credits.api_keys.revoke(keys[1].id)
    assert problem(await reader.get("/v1/accounts/acme")) == (401, "invalid_api_key")


async def test_a_database_that_takes_no_note_of_a_keys_use_is_read_all_the_same(
    backend: Backend, api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = await backend.caller(Scope.READ)

    async def full(_work: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(backend.credits.database, "write", full)
    with capture_logs() as logs:
        assert (await reader.get("/v1/accounts/acme")).status_code == 200
    assert [log["event"] for log in logs] == ["api_key_use_not_noted"]


async def test_s9_concurrent_spends_over_http_succeed_exactly_as_often_as_there_are_credits(
    api: httpx2.AsyncClient,
) -> None:
    answers = await asyncio.gather(
        *(post(api, "/v1/accounts/acme/spends", {"amount": 1}, f"k{n}") for n in range(40))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 25 + [402] * 15


async def test_s7_a_refund_is_made_once_for_each_key(house: House) -> None:
    await house.credits.open_account("acme", "plus")
    _, secret = await house.credits.api_keys.create("test", frozenset([Scope.ADMIN]))
    async with calling(None, house.url, secret) as api:
        await refund_twice(api, house)


async def refund_twice(api: httpx2.AsyncClient, house: House) -> None:
    started = await house.credits.billing.start_pack_checkout("acme")
    path = f"/v1/purchases/{started.purchase_id}"
    assert problem(await api.get(f"{path}/refund-quote")) == (409, "nothing_to_refund")
    await pay(started.url, "ann@example.com")
    async with asyncio.timeout(30):
        while (await api.get("/v1/accounts/acme")).json()["bonus"] != 200:
            await asyncio.sleep(0.02)
    quote = (await api.get(f"{path}/refund-quote?amount=300")).json()
    assert (quote["paid"], quote["refundable"], quote["amount"], quote["takes"]) == (599, 599, 300, 100)
    assert problem(await api.get(f"{path}/refund-quote?amount=600")) == (422, "refund_too_large")
    made = await post(api, f"{path}/refunds", {"amount": 300, "reason": "asked for"}, "r1")
    assert (made.status_code, made.json()["status"], made.json()["amount"]) == (201, "done", 300)
    again = await post(api, f"{path}/refunds", {"amount": 300, "reason": "asked for"}, "r1")
    assert (again.json(), again.headers["idempotent-replayed"]) == (made.json(), "true")
    assert "idempotent-replayed" not in made.headers
    assert problem(await post(api, f"{path}/refunds", {"amount": 299}, "r1")) == (422, "idempotency_conflict")
    assert (await api.get("/v1/accounts/acme")).json()["bonus"] == 100
    shown = {"quote_refund": quote, "refund_purchase": made.json()}
    for name, answer in shown.items():
        kinds = {key: type(value) for key, value in EXAMPLES[name].answered().items()}
        assert {key: type(value) for key, value in answer.items()} == kinds

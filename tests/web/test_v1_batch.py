"""Batches of spends over /v1: each spend has its own result, and only what is no batch is refused whole."""

import json
from typing import Any

import httpx2

from tests.web.conftest import problem


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


async def test_s1_one_bad_value_in_a_batch_is_refused_as_it_would_be_alone_and_the_others_are_spent(
    api: httpx2.AsyncClient,
) -> None:
    wrong: list[dict[str, Any]] = [
        {"amount": 0},
        {"amount": -1},
        {"amount": 10**12 + 1},
        {"amount": 10**400},
        {"amount": 1, "operation": "x" * 501},
        {"amount": 1, "operation": "a\0"},
        {"amount": 1, "operation": "\ud800"},
        {"amount": 0, "operation": "x" * 501},
    ]
    spends = [{"account_id": "acme", "key": f"b{n}", **each} for n, each in enumerate(wrong)]
    named = [
        {"account_id": "a" * 256, "key": "n1", "amount": 1},
        {"account_id": "acme", "key": "k" * 256, "amount": 1},
        {"account_id": "\ud800", "key": "n3", "amount": 1},
    ]
    good = {"account_id": "acme", "key": "good", "amount": 3}

    async def send(path: str, body: Any, key: str) -> Any:
        # The client itself would refuse to write half a pair of surrogates.
        sent_as = {"Content-Type": "application/json", "Idempotency-Key": key}
        return await api.post(path, content=json.dumps(body), headers=sent_as)

    answer = await send("/v1/spends:batch", {"spends": [*spends, *named, good]}, "")
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    for n, (each, result) in enumerate(zip(wrong, results, strict=False)):
        alone = await send("/v1/accounts/acme/spends", each, f"alone{n}")
        assert (result["status"], result["problem"]) == (alone.status_code, alone.json()), each
        assert problem(alone) == (422, "invalid_input")
    assert [(result["status"], result["problem"]["code"]) for result in results[8:11]] == [(422, "invalid_input")] * 3
    assert results[11]["status"] == 201
    assert (await api.get("/v1/accounts/acme")).json()["available"] == 22


async def test_what_is_no_batch_is_refused_whole(api: httpx2.AsyncClient) -> None:
    good = {"account_id": "acme", "key": "good", "amount": 3}
    for bad in (
        {"amount": "3"},
        {"amount": 3.0},
        {"amount": True},
        {"amount": None},
        {"key": 1},
        {"account_id": None},
        {"operation": ["a"]},
        {"more": 1},
    ):
        answer = await api.post("/v1/spends:batch", json={"spends": [good, {**good, "key": "bad", **bad}]})
        assert problem(answer) == (422, "invalid_input"), bad
    for left_out in good:
        one = {name: value for name, value in good.items() if name != left_out}
        assert problem(await api.post("/v1/spends:batch", json={"spends": [good, one]})) == (422, "invalid_input")
    assert (await api.get("/v1/accounts/acme")).json()["available"] == 25

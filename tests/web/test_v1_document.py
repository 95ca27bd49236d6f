"""The OpenAPI document of /v1: that it is whole, and that the service does what it says."""

import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tallystick import Plan, Tallystick
from tallystick.api_keys import Scope
from tallystick.database.engine import DatabaseUnavailable
from tallystick.domain.errors import LedgerUnavailable, Overloaded, TallystickError
from tallystick.ledger import Ledger
from tallystick.ledger.archiving import archive
from tallystick.web.problems import STATUSES
from tallystick.web.v1_document import openapi_document
from tallystick.web.v1_examples import CATALOGUE, EXAMPLES, NOW
from tests.conftest import FrozenClock
from tests.web.backend import open_backend
from tests.web.declared import (
    DOCUMENT,
    OPENAPI,
    OPERATIONS,
    PROBLEM_JSON,
    complaints,
    examples,
)


def test_the_committed_openapi_file_is_what_the_api_says_of_itself() -> None:
    document = openapi_document(Tallystick(plans=[Plan("free", 0)]))
    assert json.loads(OPENAPI.read_text()) == document, "write it anew with: tallystick openapi > docs/openapi.json"
    assert document["openapi"].startswith("3.1")
    for name, (method, path, described) in OPERATIONS.items():
        assert described["description"], (method, path)
        assert described["security"] == [{"apiKey": []}], (method, path)
        assert all(parameter["description"] for parameter in described.get("parameters", [])), name
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        for key, described in schema.get("properties", {}).items():
            assert described.get("description"), (name, key)
            whole = [s for s in (described, *described.get("anyOf", ())) if s.get("type") == "integer"]
            assert key == "status" or all(s.get("format") == "int64" for s in whole), (name, key)


def media_types() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, (_, _, described) in OPERATIONS.items():
        if "requestBody" in described:
            yield name, described["requestBody"]["content"]["application/json"]
        for status, answer in described["responses"].items():
            for content in answer["content"].values():
                yield f"{name} {status}", content


def test_every_example_in_the_document_is_what_its_schema_describes() -> None:
    for where, content in media_types():
        assert examples(content), where
        for name, value in examples(content).items():
            assert not complaints(content["schema"], value), (where, name)
    for name, (_, _, described) in OPERATIONS.items():
        for parameter in described.get("parameters", []):
            for value in [*parameter["schema"].get("examples", []), *filter(None, [parameter.get("example")])]:
                assert not complaints(parameter["schema"], value), (name, parameter["name"])
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for key, described in schema.get("properties", {}).items():
            for value in described.get("examples", []):
                assert not complaints(described, value), (name, key)


@dataclass(frozen=True)
class Asking:
    """Callers who ask what the document shows."""

    credits: Tallystick
    callers: dict[Scope, httpx2.AsyncClient]
    clock: FrozenClock
    met: set[tuple[str, str]] = field(default_factory=set)

    async def ask(
        self,
        name: str,
        *,
        scope: Scope = Scope.ADMIN,
        key: str | None = "",
        at: dict[str, Any] | None = None,
        **sent: Any,
    ) -> Any:
        """What an operation answers to the document's example, `at` another place or with something else `sent`."""
        method, path, described = OPERATIONS[name]
        headers = {}
        params = {}
        for parameter in described.get("parameters", []):
            shown = [parameter.get("example"), *parameter["schema"].get("examples", [])][-1]
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", str((at or {}).get(parameter["name"], shown)))
            elif parameter["in"] == "query" and shown is not None:
                params[parameter["name"]] = shown
            elif parameter["in"] == "header" and key is not None:
                headers[parameter["name"]] = key or shown
        if "requestBody" in described and not {"json", "content"} & set(sent):
            (sent["json"],) = examples(described["requestBody"]["content"]["application/json"]).values()
        headers |= sent.pop("headers", {})
        params |= sent.pop("params", {})
        answer = await self.callers[scope].request(method, path, headers=headers, params=params, **sent)
        if answer.headers["content-type"] == PROBLEM_JSON:
            self.met.add((name, answer.json()["code"]))
        return answer


@asynccontextmanager
async def asking(folder: Path, *, stripe: bool = True) -> AsyncIterator[Asking]:
    clock = FrozenClock(NOW)
    async with open_backend(folder, CATALOGUE.plans, stripe=stripe, clock=clock) as backend:
        yield Asking(backend.credits, {scope: await backend.caller(scope) for scope in Scope}, clock)


async def test_whoever_does_what_the_document_shows_gets_what_it_shows(tmp_path: Path) -> None:
    """In the order of the examples. A hold is resolved once, so there are two mornings."""
    money = {"quote_refund", "refund_purchase"}
    names = [name for name in EXAMPLES if name not in money]
    for left_out in ("release_hold", "capture_hold"):
        async with asking(tmp_path / left_out) as v1:
            for name in names[: names.index(left_out) + 1] if left_out == "capture_hold" else names:
                if name != left_out:
                    answer = await v1.ask(name)
                    (shown,) = examples(
                        OPERATIONS[name][2]["responses"][str(answer.status_code)]["content"]["application/json"]
                    ).values()
                    assert answer.json() == shown, name
    assert set(OPERATIONS) == {*names, *money}


REFUNDS = ("quote_refund", "refund_purchase")
ELSEWHERE = {
    # What happens between Stripe and the ledger is met where there is a sandbox.
    *(
        (name, code)
        for name in REFUNDS
        for code in (
            "nothing_to_refund",
            "refund_too_large",
            "stripe_rejected",
            "stripe_unavailable",
            "ledger_unavailable",
        )
    ),
    *(("refund_purchase", code) for code in ("idempotency_conflict", "refund_rejected", "overloaded")),
}


async def test_every_problem_that_an_operation_declares_can_be_met_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking(tmp_path / "v1") as v1:
        await v1.ask("put_account")
        await v1.ask("spend")
        for name in OPERATIONS:
            await badly_asked(v1, name)
        await refused_by_the_rules(v1, monkeypatch)
        await hindered(v1, monkeypatch)
        v1.clock.advance(days=100)
        monkeypatch.setattr("tallystick.ledger.archiving.LEAST", 1)
        await archive(v1.credits.ledger.store, v1.clock() - timedelta(days=91), tmp_path, v1.clock(), apply=True)
        await v1.ask("reverse_spend", key="archived")
    async with asking(tmp_path / "poor", stripe=False) as poor:
        for name in REFUNDS:
            await poor.ask(name)
    declared = {
        (name, code)
        for name, (_, _, described) in OPERATIONS.items()
        for answer in described["responses"].values()
        for code in answer["content"].get(PROBLEM_JSON, {"examples": {}})["examples"]
    }
    assert declared - v1.met - poor.met == ELSEWHERE
    assert v1.met | poor.met <= declared


async def badly_asked(v1: Asking, name: str) -> None:
    """What any request can have wrong with it."""
    await v1.ask(name, headers={"Authorization": ""})
    for scope in (Scope.READ, Scope.SPEND):
        await v1.ask(name, scope=scope)
    await v1.ask(name, params={"x": "\0"})
    await v1.ask(name, key=None)
    await v1.ask(name, key="request-8122", **({"json": {"plan": "free"}} if name == "put_account" else {}))
    if name != "put_account":
        await v1.ask(name, at={"id": "nobody"})
    if "requestBody" in OPERATIONS[name][2]:
        for content, kind in (
            (b"{", "application/json"),
            (b" " * 2**21, "application/json"),
            (b"amount=3", "application/x-www-form-urlencoded"),
        ):
            await v1.ask(name, content=content, headers={"Content-Type": kind})


async def refused_by_the_rules(v1: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked well and cannot be had."""
    await v1.ask("spend", json={"amount": 4})
    await v1.ask("put_account", key="plan", json={"plan": "gold"})
    await v1.ask("reverse_spend", key="first")
    for key, seq in (("second", 2), ("no-spend", 1), ("nothing", 99)):
        await v1.ask("reverse_spend", key=key, at={"seq": seq})
    held = (await v1.ask("place_hold", key="held")).json()["id"]
    for name in ("capture_hold", "extend_hold", "release_hold"):
        await v1.ask(name, key=f"no-hold-{name}", at={"hold": 99})
    much = {"amount": 10_000}
    for name in ("spend", "place_hold", "capture_hold", "extend_hold", "remove_credits"):
        body = much | {"reason": "too much"} if name == "remove_credits" else much
        await v1.ask(name, key=f"much-{name}", at={"hold": held}, json=body)
    for key, gift in {
        "outside": {"effective_at": "0001-01-01T00:00:00+14:00"},
        "over": {"expires_at": "2026-01-01T00:00:00Z"},
    }.items():
        await v1.ask("grant_credits", key=key, json={"credits": 1, **gift})
    with monkeypatch.context() as patched:
        patched.setattr("tallystick.domain.holds.MAX_HOLDS", 1)
        await v1.ask("place_hold", key="one-more")
    with monkeypatch.context() as patched:
        patched.setattr("tallystick.domain.decide.MAX_BALANCE", 100)
        await v1.ask("grant_credits", key="one-more")


async def hindered(v1: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be had if all was well with the service."""

    def raising(error: TallystickError) -> Any:
        async def raise_it(*_: Any, **__: Any) -> Any:
            raise error

        return raise_it

    for where, what, error in (
        (Ledger, "account", LedgerUnavailable("gone")),
        (Ledger, "submit", LedgerUnavailable("gone")),
        (Ledger, "submit", Overloaded("busy")),
        (v1.credits.api_keys, "authenticate", DatabaseUnavailable()),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(where, what, raising(error))
            for name in OPERATIONS:
                body = {"json": {"plan": "free"}} if name == "put_account" else {}
                await v1.ask(name, key=f"{error.code}-{what}-{name}", **body)


def requests_of(page: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the curl commands of a page would send."""
    for command in re.findall(r"^curl .*?(?<!\\)$", page.read_text(), re.MULTILINE | re.DOTALL):
        words = shlex.split(command.replace("\\\n", " "))[1:]
        sent: dict[str, Any] = {"headers": {}}
        method, url = "GET", ""
        while words:
            word = words.pop(0)
            if word == "-X":
                method = words.pop(0)
            elif word == "-d":
                sent["content"] = words.pop(0)
            elif word == "-H":
                name, _, value = words.pop(0).partition(": ")
                sent["headers"][name] = value
            else:
                url = word
        yield method, url.removeprefix("http://127.0.0.1:8000"), sent


async def test_the_page_about_the_api_works_as_it_is_written(tmp_path: Path) -> None:
    page = OPENAPI.parent / "http-api.md"
    answers = []
    async with open_backend(tmp_path, [Plan("free", 25)]) as backend:
        caller = await backend.caller()
        for method, url, sent in requests_of(page):
            assert sent["headers"].pop("Authorization") == "Bearer $TALLYSTICK_KEY"
            answers.append(await caller.request(method, url, **sent))
    assert [answer.status_code for answer in answers] == [200, 201, 200, 201, 201, 200, 200]
    assert [result["status"] for result in answers[5].json()["results"]] == [201, 402]
    told = {
        code: int(status)
        for status, codes in re.findall(r"^\| (\d{3}) \| ([^|]*)", page.read_text(), re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    declared = {code: STATUSES[code] for code in DOCUMENT["components"]["examples"]}
    assert told == declared | {"internal_error": 500}


def test_the_status_in_a_problem_is_that_of_the_answer() -> None:
    examples = DOCUMENT["components"]["examples"]
    said = {code: example["value"]["status"] for code, example in examples.items()}
    assert said == {code: STATUSES[code] for code in examples}

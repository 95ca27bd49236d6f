"""Recorded exchanges with the real API, and how far an answer of the sandbox is from a recorded one.

The recordings are not part of this repository. Where they are not at hand, a few exchanges written here by hand take
their place: they hold what the recordings show of headers and errors.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from tests.sandbox.conformance import description

_SHARED = Path(__file__).parents[3] / "shared" / "stripe"
_RECORDED = _SHARED / "recorded" / "http"
_EXAMPLES = _SHARED / "fixtures3.2026-07-29.json"
# A scanner for secrets took these words out of the recordings.
_MASK = "<PADDLE_API_KEY>"

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """A status, the headers that say something, and a body."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Exchange:
    """A request and what was answered to it."""

    name: str
    method: str
    path: str
    query: Pairs
    form: Pairs
    version: str
    key: str | None
    answer: Answer

    def recorded_at(self) -> int:
        """When, as far as the exchange shows it: the newest timestamp of its answer, else the date of its version."""
        of_version = datetime.fromisoformat(f"{self.version[:10]}T00:00:00Z")
        return max(_moments(self.answer.body), default=int(of_version.timestamp()))

    def field(self, name: str) -> str | None:
        """A parameter of the form."""
        return next((value for key, value in self.form if key == name), None)

    def mentions(self, text: str) -> bool:
        """Whether a value of the request is `text`, or its path goes through it."""
        return text in self.path.split("/") or any(value == text for _, value in [*self.query, *self.form])


def _moments(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        if isinstance(value.get("created"), int):
            yield value["created"]
        for inner in value.values():
            yield from _moments(inner)
    elif isinstance(value, list):
        for item in value:
            yield from _moments(item)


def recorded() -> list[Exchange]:
    """All recorded exchanges, by name; none where they are not at hand."""
    return [_exchange(file.stem, file.read_text()) for file in sorted(_RECORDED.glob("*.json"))]


def written() -> list[Exchange]:
    """Exchanges written by hand, each true to what recordings show."""
    return [_exchange(name, json.dumps({"request": asked, "response": said})) for name, asked, said in _WRITTEN]


def _exchange(name: str, text: str) -> Exchange:
    raw = json.loads(text.replace(_MASK, "secret"))
    request, response = raw["request"], raw["response"]
    headers = {key.lower(): value for key, value in response["headers"].items()}
    return Exchange(
        name,
        request["method"],
        request["path"],
        [(key, value) for key, value in request["query"]],
        [(key, value) for key, value in request["form"]],
        request["stripe_version"],
        # The SDK makes up a key where there is none, which some recordings show only in the answer.
        request["idempotency_key"] or headers.get("idempotency-key"),
        Answer(response["status"], headers, response["body"]),
    )


def differences(exchange: Exchange, answer: Answer) -> list[str]:
    """What is not the same: status, headers, the error, the state of the object, and the keys at any depth.

    A key may be absent here that the description does not declare (any more). A key may be here that was not there
    then, where there is evidence that Stripe sends it by now: the description requires it, Stripe's own newest example
    has it, or a later recording does.
    """
    then, now = exchange.answer.body, answer.body
    if exchange.answer.status != answer.status:
        return [f"status {answer.status} instead of {exchange.answer.status}: {_message(now)}"]
    found = list(_header_differences(exchange.answer.headers, answer.headers))
    compare = _Comparison(exchange.recorded_at())
    if "error" in then:
        for name in ("type", "code", "param", "decline_code"):
            if then["error"].get(name) != now["error"].get(name):
                found.append(f"error.{name} {now['error'].get(name)!r} instead of {then['error'].get(name)!r}")
        return found + list(compare.keys(then["error"], now["error"], description().get("api_errors"), "error"))
    for name in ("object", "status"):
        if then.get(name) != now.get(name):
            found.append(f"{name} {now.get(name)!r} instead of {then.get(name)!r}")
    return found + list(compare.keys(then, now, description().get(then["object"]), then["object"]))


def _message(body: Any) -> str:
    return str(body.get("error", {}).get("message", ""))[:120]


def _header_differences(then: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    if then.get("stripe-should-retry") != now.get("stripe-should-retry"):
        yield f"Stripe-Should-Retry {now.get('stripe-should-retry')} instead of {then.get('stripe-should-retry')}"
    for name in ("idempotency-key", "original-request", "request-id", "stripe-version"):
        if (name in then) is not (name in now):
            yield f"{name} is {'here' if name in now else 'absent'}"


@dataclass(frozen=True)
class _Comparison:
    """Of the keys of a body that was recorded at some moment with those of one of today."""

    moment: int

    def keys(self, then: Any, now: Any, schema: Any, path: str) -> Iterator[str]:
        if isinstance(then, list) and isinstance(now, list):
            items = (schema or {}).get("items")
            for before, after in zip(then, now, strict=False):
                yield from self.keys(before, after, _resolved(items, before), f"{path}[]")
            return
        if not isinstance(then, dict) or not isinstance(now, dict) or path.endswith("metadata"):
            return
        at = str(then.get("object", path))
        declared = (schema or {}).get("properties")
        # A key that came to many objects at once need not have been recorded on each.
        everywhere = _seen_later("", self.moment) & set(declared or ())
        by_now = set((schema or {}).get("required", ())) | _example(at) | _seen_later(at, self.moment) | everywhere
        names = set(then) | set(now)
        if path.endswith("payment_method_options"):
            # Its keys are the payment methods that an account has switched on.
            names = set(then) & set(now)
        for name in sorted(names):
            if name not in now:
                if declared is None or name in declared:
                    yield f"{path}.{name} is absent"
            elif name not in then:
                if name not in by_now:
                    yield f"{path}.{name} is here"
            else:
                inner = _resolved((declared or {}).get(name), then[name])
                yield from self.keys(then[name], now[name], inner, f"{at}.{name}")


def _resolved(schema: Any, value: Any) -> Any:
    """The schema that describes `value`: of several, the one that knows most of its keys."""
    if schema is None:
        return None
    if "$ref" in schema:
        return description().get(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        options = [_resolved(option, value) for option in schema["anyOf"]]
        keys = set(value) if isinstance(value, dict) else set()
        return max(options, key=lambda option: len(keys & set((option or {}).get("properties", ()))), default=None)
    return schema


@cache
def _examples() -> dict[str, set[str]]:
    if not _EXAMPLES.exists():
        return {}
    resources = json.loads(_EXAMPLES.read_text())["resources"]
    return {body["object"]: set(body) for body in resources.values() if isinstance(body, dict) and "object" in body}


def _example(kind: str) -> set[str]:
    """The keys of Stripe's own newest example of an object."""
    return _examples().get(kind, set())


@cache
def _seen() -> list[tuple[int, str, frozenset[str]]]:
    """Of every dict in every recording: when it was recorded, what it is, and its keys."""
    found: list[tuple[int, str, frozenset[str]]] = []

    def look(value: Any, path: str, moment: int) -> None:
        if isinstance(value, dict):
            at = str(value.get("object", path))
            found.append((moment, at, frozenset(value)))
            for name, inner in value.items():
                look(inner, f"{at}.{name}", moment)
        elif isinstance(value, list):
            for item in value:
                look(item, f"{path}[]", moment)

    for exchange in recorded():
        body = exchange.answer.body
        look(body.get("error", body), "error", exchange.recorded_at())
    return found


@cache
def _seen_later(kind: str, moment: int) -> set[str]:
    """The keys that were recorded after that moment, on one kind of object or (named "") on any."""
    return {name for later, at, keys in _seen() if kind in ("", at) and later > moment for name in keys}


def _asked(method: str, path: str, form: Pairs, key: str | None) -> dict[str, Any]:
    return {
        "method": method,
        "path": path,
        "query": [],
        "form": form,
        "idempotency_key": key,
        "stripe_version": "2026-03-25.dahlia",
    }


def _said(status: int, body: Any, *, key: bool = False, saved: bool = False) -> dict[str, Any]:
    headers = {"Request-Id": "req_1", "Stripe-Version": "2026-03-25.dahlia"}
    headers |= {"Idempotency-Key": "k", "Original-Request": "req_1"} if key else {}
    headers |= {"Stripe-Should-Retry": "false"} if saved else {}
    return {"status": status, "headers": headers, "body": body}


def _error(**error: str) -> dict[str, Any]:
    link = {"doc_url": "https://stripe.com/docs/error-codes/x"} if "code" in error else {}
    more = {"message": "", "request_log_url": "https://dashboard.stripe.com/test/logs/req_1", **link}
    return {"error": {"type": "invalid_request_error", **more, **error}}


_ENDPOINT = ("id", "object", "api_version", "application", "created", "description", "enabled_events", "livemode")
_WRITTEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "a customer that is not there",
        _asked("GET", "/v1/customers/cus_1", [], None),
        _said(404, _error(code="resource_missing", param="id")),
    ),
    (
        "a parameter that is not there, with a key",
        _asked("POST", "/v1/customers", [("nope", "1")], "k"),
        _said(400, _error(code="parameter_unknown", param="nope"), key=True),
    ),
    (
        "a price that is not there, without a key",
        _asked(
            "POST",
            "/v1/checkout/sessions",
            [("mode", "payment"), ("success_url", "https://a.test"), ("line_items[0][price]", "no")],
            None,
        ),
        _said(400, _error(code="resource_missing", param="line_items[0][price]")),
    ),
    (
        "an endpoint, with a key",
        _asked("POST", "/v1/webhook_endpoints", [("url", "https://a.test"), ("enabled_events[0]", "*")], "k"),
        _said(
            200,
            {**dict.fromkeys((*_ENDPOINT, "metadata", "secret", "url")), "object": "webhook_endpoint"}
            | {"status": "enabled", "metadata": {}},
            key=True,
            saved=True,
        ),
    ),
]

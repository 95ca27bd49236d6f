"""Watches every sandbox that a test runs in its own process: each answer of the API and each event must look like
Stripe's. What was found since the last time is taken by the fixture in `tests/conftest.py`.

Many answers have the same shape, so each shape is checked once in a process.
"""

import json
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stripe_sandbox import API_VERSION, server
from stripe_sandbox.store import Store, public
from tests.sandbox.conformance import problems

_found: set[str] = set()
_shapes: dict[Any, tuple[str, ...]] = {}
_installed = False
seen = {"answers": 0, "events": 0}
"""How many of each were looked at in this process."""


def install() -> None:
    """Watch from now on. Safe to repeat."""
    global _installed
    if _installed:
        return
    _installed = True
    create_app, put = server.create_app, Store.put

    def watched_app(*args: Any, **kwargs: Any) -> Any:
        return _watching(create_app(*args, **kwargs))

    def watched_put(self: Store, body: dict[str, Any], type: str | None = None) -> None:
        put(self, body, type)
        if body["object"] in ("event", "v2.core.event"):
            seen["events"] += 1
            _look(public(body))

    server.create_app, Store.put = watched_app, watched_put


def taken() -> list[str]:
    """What was found since the last time."""
    found = sorted(_found)
    _found.clear()
    return found


def _watching(app: ASGIApp) -> ASGIApp:
    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = {}

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers.update(message["headers"])
            # Answers in an earlier version are of a shape that is described nowhere.
            elif headers.get(b"stripe-version") == API_VERSION.encode():
                seen["answers"] += 1
                _look(json.loads(message["body"]))
            await send(message)

        await app(scope, receive, watch)

    return watched


def _look(body: Any) -> None:
    shape = _shape(body)
    if shape not in _shapes:
        _shapes[shape] = tuple(problems(body))
    _found.update(_shapes[shape])


def _shape(value: Any) -> Any:
    """What makes two bodies alike: keys, types, and words that may be one of a few."""
    if isinstance(value, dict):
        return tuple((key, "map" if key == "metadata" else _shape(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return ("list", *_distinct(_shape(inner) for inner in value))
    if isinstance(value, str):
        return value if len(value) < 40 and value.replace("_", "").replace(".", "").islower() else "text"
    return type(value)


def _distinct(shapes: Iterable[Any]) -> Iterable[Any]:
    return dict.fromkeys(shapes)

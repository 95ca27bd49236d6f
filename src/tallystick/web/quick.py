"""The short way for requests that make up the load of a service, through routes that stay declared in full.

Solving a route's parameters one by one costs several times as much as the spend that is asked for. A quick route
looks at the plain case itself, with the same models. Whatever is not plain goes the declared way, which also
says what is wrong with it; so every refusal of a request has one place. Knows nothing of credits.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Response
from pydantic import BaseModel, ValidationError
from starlette.types import Message, Receive, Scope, Send

from tallystick.domain.errors import TallystickError
from tallystick.web.addresses import ExactRoute
from tallystick.web.problems import MAX_BODY_BYTES, problem

Body = TypeVar("Body", bound=BaseModel)
_BEARER = "Bearer "


@dataclass(frozen=True, slots=True)
class Plain:
    """A request as almost all are: JSON, with a bearer's secret. `key` is its Idempotency-Key, or empty."""

    secret: str
    key: str
    path: dict[str, str]
    body: Any

    def body_as(self, model: type[Body]) -> Body | None:
        """The body as `model`, or None when it is not one."""
        try:
            return model.model_validate(self.body)
        except ValidationError:
            return None


Answering = Callable[[Plain], Awaitable[Response | None]]
"""Answers a plain request, raises its refusal, or returns None for one that has to go the declared way."""


def quick_route(answering: Answering) -> type[ExactRoute]:
    """A class of routes that let `answering` answer what is plain."""

    class Quick(ExactRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            read: list[Message] = []
            plain = await _plain(scope, receive, read) if scope["method"] == "POST" else None
            try:
                answer = None if plain is None else await answering(plain)
            except TallystickError as error:
                answer = problem(error)
            if answer is None:
                await super().handle(scope, _again(read, receive), send)
            else:
                await answer(scope, receive, send)

    return Quick


def json_answer(body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    """`body`, which is JSON as it is declared to be answered."""
    return Response(body, status, headers, "application/json")


async def _plain(scope: Scope, receive: Receive, read: list[Message]) -> Plain | None:
    """The request if it is plain. What was read of it is added to `read`."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers:
            return None
        headers[name] = value
    secret = headers.get(b"authorization", b"").decode("latin-1")
    if headers.get(b"content-type") != b"application/json" or not secret.startswith(_BEARER):
        return None
    if scope["query_string"] or "\0" in scope["path"]:
        return None
    key = headers.get(b"idempotency-key", b"").decode("latin-1")
    size = 0
    while not read or read[-1].get("more_body"):
        read.append(await receive())
        size += len(read[-1].get("body", b""))
        if read[-1]["type"] != "http.request" or size > MAX_BODY_BYTES:
            return None
    try:
        body = json.loads(b"".join(message.get("body", b"") for message in read))
    except (ValueError, RecursionError):
        return None
    return Plain(secret[len(_BEARER) :], key, scope["path_params"], body)


def _again(read: list[Message], receive: Receive) -> Receive:
    """`receive`, beginning with what was `read` before."""
    before = iter(read)

    async def receive_again() -> Message:
        return next(before, None) or await receive()

    return receive_again

"""The short way for requests that make up the load of a service, through routes that stay declared in full.

Solving a route's parameters one by one costs several times as much as the spend that is asked for. A quick route
looks at the plain case itself, with the same models. Whatever is not plain goes the declared way, which also
says what is wrong with it; so every refusal of a request has one place. Knows nothing of credits.
"""

import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from tallystick.web.problems import ProblemRoute

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


def quick_route(answering: Answering) -> type[ProblemRoute]:
    """A class of routes that let `answering` answer what is plain."""

    class Short(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            declared = super().get_route_handler()

            async def handle(request: Request) -> Response:
                plain = await _plain(request)
                answer = None if plain is None else await answering(plain)
                return await declared(request) if answer is None else answer

            return handle

    # Between the guards and problem documents, which hold for both ways, and the declared way.
    class Quick(ProblemRoute, Short):
        pass

    return Quick


def json_answer(model: BaseModel, status: int, headers: dict[str, str] | None = None) -> Response:
    """`model` as it is declared to be answered."""
    return Response(model.__pydantic_serializer__.to_json(model), status, headers, "application/json")


async def _plain(request: Request) -> Plain | None:
    headers: dict[bytes, bytes] = {}
    for name, value in request.scope["headers"]:
        if name in headers:
            return None
        headers[name] = value
    secret = headers.get(b"authorization", b"").decode("latin-1")
    if headers.get(b"content-type") != b"application/json" or not secret.startswith(_BEARER):
        return None
    key = headers.get(b"idempotency-key", b"").decode("latin-1")
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        return None
    return Plain(secret[len(_BEARER) :], key, request.scope["path_params"], body)

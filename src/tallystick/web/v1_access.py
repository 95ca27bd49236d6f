"""What the routes of /v1 ask of every request: a secret key with the right scope, and an idempotency key."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from tallystick.api_keys import InvalidApiKey, Scope
from tallystick.service import Tallystick
from tallystick.web.problems import RequestRefused

KEY_HEADER = "Idempotency-Key"


class KeyMissing(RequestRefused):
    """A write without an idempotency key (S7)."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key_missing",
            f"Every write needs an {KEY_HEADER} header, so that repeating it is safe. Nothing was changed. "
            "Send a new key for a new request, and the same key to repeat one.",
        )


async def idempotency_key(request: Request) -> str:
    """The key of a write. Raises KeyMissing.

    Read from the request itself: a declared header would have to be optional to be refused in our own words, and
    be described as optional too.
    """
    key = request.headers.get(KEY_HEADER)
    if not key:
        raise KeyMissing
    return key


Key = Annotated[str, Depends(idempotency_key)]


_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="apiKey",
    description="A secret key, `tsk_…`, made with `tallystick keys create NAME --scope spend`. It is shown once.",
)


def requires(credits: Tallystick, wanted: Scope) -> Any:
    """The dependency of a route that needs a key with the scope `wanted`."""
    return Depends(_requires(credits, wanted))


def _requires(credits: Tallystick, wanted: Scope) -> Callable[..., Coroutine[Any, Any, None]]:
    async def check(sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        if sent is None:
            raise InvalidApiKey
        await authorize(credits, sent.credentials, wanted)

    return check


async def authorize(credits: Tallystick, secret: str, wanted: Scope) -> None:
    """Raise InvalidApiKey or MissingScope unless `secret` may do that."""
    (await credits.api_keys.authenticate(secret)).require(wanted)

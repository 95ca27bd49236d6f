"""Errors over HTTP: RFC 9457 problem documents with stable codes, for the API wherever it is mounted."""

import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from tallystick.domain.errors import TallystickError, Unavailable
from tallystick.logs import traceback_of

log = structlog.get_logger(__name__)

PROBLEM_JSON = "application/problem+json"

MAX_BODY_BYTES = 1024 * 1024
"""The largest body that is read, of any request; Stripe's own events are a few kilobytes."""

STATUSES = {
    "not_signed_in": 401,
    "invalid_api_key": 401,
    "insufficient_credits": 402,
    "missing_scope": 403,
    "plan_required": 403,
    "cross_site": 403,
    "operators_only": 403,
    "unknown_account": 404,
    "unknown_purchase": 404,
    "unknown_pack": 404,
    "unknown_plan": 404,
    "unknown_entry": 404,
    "unknown_event": 404,
    "unknown_api_key": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "already_on_plan": 409,
    "account_exists": 409,
    "already_reversed": 409,
    "entry_archived": 410,
    "not_reversible": 409,
    "hold_not_open": 409,
    "too_many_holds": 409,
    "plan_not_for_sale": 409,
    "nothing_to_refund": 409,
    "refund_rejected": 409,
    "no_customer": 409,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_input": 422,
    "invalid_amount": 422,
    "invalid_money": 422,
    "invalid_instant": 422,
    "idempotency_conflict": 422,
    "balance_too_large": 422,
    "grant_expired": 422,
    "refund_too_large": 422,
    "too_many_attempts": 429,
    "idempotency_key_missing": 400,
    "malformed_json": 400,
    "signature_missing": 400,
    "signature_invalid": 400,
    "signature_stale": 400,
    "not_an_event": 400,
    "stripe_rejected": 502,
    "price_mismatch": 502,
    "unavailable": 503,
    "stripe_unavailable": 503,
    "database_unavailable": 503,
    "ledger_unavailable": 503,
    "overloaded": 503,
    "billing_not_configured": 503,
    "webhook_not_configured": 503,
}
"""The HTTP status of each code. What is not here is our fault: 500."""

_TITLES = {
    400: "The request cannot be understood",
    401: "Sign in first",
    402: "Not enough credits",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    409: "Not possible as things are",
    410: "Not here any more",
    413: "Too large",
    415: "Unsupported media type",
    422: "The request cannot be used",
    429: "Too many attempts",
    500: "Something went wrong on our side",
    502: "The payment service refused",
    503: "Not available right now",
}


class RequestRefused(TallystickError):
    """A request that does not get as far as the house. `code` is one of STATUSES."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.code = code


class NotSignedIn(TallystickError):
    """Nobody is signed in."""

    code = "not_signed_in"

    def __init__(self) -> None:
        super().__init__("You are not signed in. Nothing was changed. Sign in and try again.")


def status_of(error: TallystickError) -> int:
    """The HTTP status of an error."""
    return STATUSES.get(error.code, 500)


def title_of(status: int) -> str:
    """A short summary of a status, the same for all of its problems."""
    return _TITLES.get(status, _TITLES[500])


def problem_body(error: TallystickError) -> dict[str, Any]:
    """What the problem document of an error says."""
    status = status_of(error)
    return {
        "type": f"urn:tallystick:problem:{error.code}",
        "title": title_of(status),
        "status": status,
        "detail": error.message,
        "code": error.code,
        **error.details,
    }


def problem(error: TallystickError) -> Response:
    """The problem document of an error. What no caller is to meet over HTTP is told as any error of our own."""
    if error.code not in STATUSES:
        return unexpected(error)[1]
    status = status_of(error)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Unavailable) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer" if error.code == "invalid_api_key" else "Session"
    return JSONResponse(problem_body(error), status, headers, media_type=PROBLEM_JSON)


def unexpected(error: Exception) -> tuple[str, Response]:
    """What a caller is told of an error that nobody foresaw: an id to ask for, and nothing of its inside."""
    incident = uuid.uuid4().hex[:12]
    log.error("internal_error", incident=incident, exception=traceback_of(error))
    body = {
        "type": "urn:tallystick:problem:internal_error",
        "title": title_of(500),
        "status": 500,
        "detail": f"An error on our side; it has been noted as {incident}. It is safe to try again.",
        "code": "internal_error",
        "incident": incident,
    }
    return incident, JSONResponse(body, 500, media_type=PROBLEM_JSON)


def from_validation(error: RequestValidationError) -> RequestRefused:
    """FastAPI's complaint about a request in our words."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return RequestRefused("malformed_json", "The body is not JSON. Nothing was changed.")
    wrong = [{"where": ".".join(str(part) for part in item["loc"]), "what": item["msg"]} for item in found]
    named = "; ".join(f"{item['where']}: {item['what']}" for item in wrong)
    return RequestRefused("invalid_input", f"The request cannot be used: {named}. Nothing was changed.", errors=wrong)


_UNREADABLE = "There was an error parsing the body"
"""What the framework calls a body that it could not read. A host application's own errors have causes too."""


class BodyTooLarge(HTTPException):
    """Raised while a body is read. The framework lets only its own kind of error through from there."""

    def __init__(self) -> None:
        super().__init__(413)


def body_too_large() -> RequestRefused:
    """A body that is too large, in our words."""
    return RequestRefused("body_too_large", f"The body is larger than {MAX_BODY_BYTES:,} bytes. Nothing was changed.")


def from_http(error: HTTPException) -> RequestRefused | None:
    """What the framework refuses about a request's body in our words; None for anything else."""
    if isinstance(error, BodyTooLarge):
        return body_too_large()
    if error.detail != _UNREADABLE:
        return None
    # Of the errors that reading a body ends with, Python has no kind of its own for a number that is too long.
    if isinstance(error.__cause__, RecursionError | UnicodeDecodeError):
        wrong = "it is not UTF-8, or nested too deeply"
    elif isinstance(error.__cause__, ValueError):
        wrong = "a number in it has thousands of digits"
    else:
        return None
    return RequestRefused("malformed_json", f"The body cannot be read: {wrong}. Nothing was changed.")


class GuardedRoute(APIRoute):
    """A route that reads no more than MAX_BODY_BYTES, and no NUL in an address: PostgreSQL cannot look one up."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_guarded(request: Request) -> Response:
            if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
                raise RequestRefused("invalid_input", "The address contains a NUL character. Nothing was changed.")
            return await handle(Request(request.scope, _limited(request.receive)))

        return handle_guarded


def _limited(receive: Receive) -> Receive:
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > MAX_BODY_BYTES:
            raise BodyTooLarge
        return message

    return limited


class ProblemRoute(GuardedRoute):
    """A route whose errors are problem documents, also inside a host application with handlers of its own."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_problems(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return problem(from_validation(error))
            except TallystickError as error:
                return problem(error)
            except HTTPException as error:
                refused = from_http(error)
                if refused is None:
                    # A host application's own, raised by the dependency it gave us: its own handlers answer.
                    raise
                return problem(refused)

        return handle_problems

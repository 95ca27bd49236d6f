"""What comes back from Stripe: answers as plain dicts, and the SDK's errors turned into ours."""

from collections.abc import Awaitable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import stripe
import structlog

from tallystick.billing.errors import StripeRejected, StripeUnavailable

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def listed(request: Awaitable[stripe.StripeObject]) -> list[dict[str, Any]]:
    """The objects of a list."""
    data: list[dict[str, Any]] = (await call(request))["data"]
    return data


async def or_none(request: Awaitable[T]) -> T | None:
    """The answer, or None when Stripe does not have what was asked for."""
    try:
        return await request
    except StripeRejected as error:
        if error.is_missing:
            return None
        raise


def date(headers: Mapping[str, str] | None) -> datetime | None:
    """What time it was at Stripe, to the second."""
    said = (headers or {}).get("date")
    return None if said is None else parsedate_to_datetime(said)


async def call(request: Awaitable[stripe.StripeObject]) -> dict[str, Any]:
    """The answer as a plain dict."""
    result: dict[str, Any] = (await ask(request)).to_dict()
    return result


async def ask(request: Awaitable[T]) -> T:
    """The answer as the SDK has it. Raises StripeUnavailable and StripeRejected."""
    try:
        return await request
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        log.warning("stripe_unavailable", error=type(error).__name__)
        raise StripeUnavailable from error
    except stripe.StripeError as error:
        if error.http_status is None or error.http_status >= 500 or error.http_status in (409, 429):
            log.warning("stripe_unavailable", error=type(error).__name__, status=error.http_status)
            raise StripeUnavailable from error
        rejected = StripeRejected(
            f"Stripe refused a request ({error.code or error.http_status}, request {error.request_id}). "
            "Nothing was changed. An operator has to look at the settings.",
            stripe_code=error.code,
            stripe_status=error.http_status,
        )
        # Looking for what is not there is a question like any other: the caller says whether the answer is bad.
        say = log.info if rejected.is_missing else log.error
        say("stripe_rejected", status=error.http_status, code=error.code, request_id=error.request_id)
        raise rejected from error

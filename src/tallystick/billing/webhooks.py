"""The door for Stripe's events: verified on the raw body, then stored, and only then acted on (S26, S27)."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import stripe
import structlog

from tallystick.billing.errors import (
    NotAnEvent,
    SignatureInvalid,
    SignatureMissing,
    SignatureStale,
    WebhookNotConfigured,
)
from tallystick.billing.event_shapes import is_event, other_account
from tallystick.billing.stripe_api import BillingSettings
from tallystick.clock import Clock

TOLERANCE = timedelta(seconds=300)
"""How old a signature may be (S26)."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Why an event is never acted on, though Stripe signed it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """An event that Stripe signed, as it came; kept, and not acted on, when it is `not_ours`."""

    id: str
    type: str
    api_version: str | None
    payload: str
    not_ours: NotOurs | None = None


def verify(body: bytes, signature: str | None, settings: BillingSettings, clock: Clock) -> VerifiedEvent:
    """Check that Stripe signed `body` lately with one of our secrets, and that it is an event.

    One of the other mode or of another account is told as such: sending it again would not help, so Stripe is not
    asked to.

    Raises a WebhookRefused with the reason; nothing has been stored then.
    """
    if not settings.webhook_secrets:
        log.error("webhook_not_configured")
        raise WebhookNotConfigured(
            "No webhook signing secret is set, so no event can be verified and none is taken. "
            "Set STRIPE_WEBHOOK_SECRET; Stripe sends the event again."
        )
    if not signature:
        raise SignatureMissing("The Stripe-Signature header is missing. Nothing was changed.")
    if not any(_is_signed(body, signature, secret) for secret in settings.webhook_secrets):
        log.warning("webhook_signature_invalid")
        raise SignatureInvalid("The signature does not fit this body and our secrets. Nothing was changed.")
    if clock().timestamp() - _signed_at(signature) > TOLERANCE.total_seconds():
        log.warning("webhook_signature_stale")
        raise SignatureStale(
            f"The signature is older than {TOLERANCE.seconds} seconds. Nothing was changed. "
            "If this is a new event, check the clocks."
        )
    event = _read(body)
    found = not_ours(event, settings)
    if found is not None:
        log.warning("webhook_not_ours", event_id=event["id"], reason=found.code)
    return VerifiedEvent(event["id"], event["type"], event.get("api_version"), body.decode(), found)


def not_ours(event: dict[str, Any], settings: BillingSettings) -> NotOurs | None:
    """Why an event must not be acted on here: it is of another account, or of the other mode (S26)."""
    account = other_account(event)
    if account is not None:
        return NotOurs(
            "other_account",
            f"This is an event of account {account!s:.100}, which is connected to ours. Nothing was changed. "
            "Let the endpoint listen to events of your own account alone.",
        )
    if event["livemode"] is not settings.livemode:
        return NotOurs(
            "wrong_mode",
            f"This is a {'live' if event['livemode'] else 'test'} mode event, and this service runs in "
            f"{'live' if settings.livemode else 'test'} mode. Nothing was changed. Take this address out of that "
            "mode's webhook endpoints, or use that mode's key.",
        )
    return None


def _signed_at(signature: str) -> int:
    """The timestamp that a verified signature covers.

    Read exactly as the SDK reads it: a header may name a second one, which the signature does not cover.
    """
    items = [item.split("=", 2) for item in signature.split(",")]
    return int(next(item[1] for item in items if item[0] == "t"))


def _is_signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        # Without a tolerance: how old it may be is judged by our own clock, with its own answer.
        stripe.WebhookSignature.verify_header(body, signature, secret)
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        # TypeError is what comparing with a header that is not ASCII comes to.
        return False
    return True


def _read(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    if not is_event(event):
        raise NotAnEvent("The body is signed, but it is not an event of Stripe. Nothing was changed.")
    found: dict[str, Any] = event
    return found

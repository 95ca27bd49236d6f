"""The two shapes in which Stripe tells of the same thing: snapshot events, which carry their object, and thin ones,
which name it. Reads what was sent; asks nobody.
"""

import re
from typing import Any

from tallystick.billing.reading import subscription_of

SNAPSHOT, THIN = "event", "v2.core.event"

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def is_event(body: object) -> bool:
    """Whether a body is an event in either shape, as far as we rely on it."""
    if not isinstance(body, dict):
        return False
    given: dict[str, object] = body
    if not (_is_word(given.get("id")) and _is_word(given.get("type")) and isinstance(given.get("livemode"), bool)):
        return False
    if given.get("object") == THIN:
        # Some are about something that cannot be fetched; those name nothing.
        named = given.get("related_object")
        return named is None or (isinstance(named, dict) and _is_word(named.get("id")))
    version, data = given.get("api_version"), given.get("data")
    return (
        given.get("object") == SNAPSHOT
        and (version is None or _is_word(version))
        and isinstance(data, dict)
        and isinstance(data.get("object"), dict)
    )


def is_thin(event: dict[str, Any]) -> bool:
    """Whether an event only names what it is about."""
    return bool(event["object"] == THIN)


def kind_of(type: str) -> str:
    """The type of the snapshot event that tells the same as an event of `type`."""
    return type.removeprefix("v1.")


def types_of(kind: str) -> tuple[str, str]:
    """The types of the events that tell the same, in both shapes."""
    return kind_of(kind), f"v1.{kind_of(kind)}"


def object_id(event: dict[str, Any]) -> str | None:
    """The id of the object that an event is about; None for the few that are about something without one."""
    about = (event.get("related_object") or {}) if is_thin(event) else event["data"]["object"]
    id: str | None = about.get("id")
    return id


def billed_subscription(event: dict[str, Any]) -> str | None:
    """The subscription whose invoice an event is about, if it says so: an invoice never moves to another one."""
    named = None if is_thin(event) else subscription_of(event["data"]["object"])
    return named if isinstance(named, str) else None


def other_account(event: dict[str, Any]) -> object:
    """Which other Stripe account than our own an event is of; None when it is of ours."""
    return event.get("context" if is_thin(event) else "account")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None

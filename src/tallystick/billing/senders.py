"""What at Stripe sends events to an address: webhook endpoints (API v1) and event destinations (API v2), read alike.

Turns what Stripe shows into plain facts; asks nobody.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tallystick.billing.event_shapes import kind_of, types_of

MARK = "tallystick"
"""The metadata by which products, prices and senders of events are known to be ours; of a price it has the lookup key."""

EVERYTHING = "*"
_OWN_ACCOUNT = ("@self", "self")

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sender:
    """One that sends events to `url`, as far as it is switched on.

    `kinds` are the types of the snapshot events that tell what it sends, in either shape. `api_version` is that of
    its snapshots, None for that of the account; thin events have none.
    """

    id: str
    url: str
    kinds: frozenset[str]
    is_on: bool
    is_ours: bool
    is_destination: bool = False
    is_thin: bool = False
    api_version: str | None = None

    @property
    def noun(self) -> str:
        """What Stripe calls it, in short."""
        return "destination" if self.is_destination else "endpoint"

    def lacks(self, kinds: Iterable[str]) -> list[str]:
        """Those of the kinds that it does not send."""
        return [] if EVERYTHING in self.kinds else [kind for kind in kinds if kind not in self.kinds]

    def is_versioned_as(self, api_version: str) -> bool:
        """Whether what it sends is in that version; what is thin is in no version, and so in every one."""
        return self.is_thin or self.api_version == api_version

    def version_in_words(self, latest: str | None) -> str:
        """In which version it sends events; `latest` is the one that Stripe's latest event is in, if there is any."""
        if self.api_version is not None:
            return f"{self.id} sends events in version {self.api_version}"
        shown = "Stripe's dashboard shows which that is, in Workbench > Overview"
        which = shown if latest is None else f"Stripe's latest event is in {latest}"
        return f"{self.id} has no API version of its own and sends events in the account's default version ({which})"


def senders(endpoints: Iterable[Object], destinations: Iterable[Object]) -> tuple[Sender, ...]:
    """All that send events of the account itself over the web, the endpoints first."""
    read = [_endpoint(each) for each in endpoints]
    known = {each.id for each in read}
    return (*read, *(_destination(each) for each in destinations if _is_one(each) and each["id"] not in known))


def follow_the_account(all_of_them: Iterable[Sender]) -> bool:
    """Whether any of them sends events in the account's default version, which nothing at Stripe names outright."""
    return any(each.api_version is None and not each.is_thin for each in all_of_them)


def sent_as(kinds: Iterable[str], *, thin: bool) -> tuple[str, ...]:
    """The types under which events of these kinds are ordered."""
    return tuple(types_of(kind)[1 if thin else 0] for kind in kinds)


def same_url(one: str, other: str) -> bool:
    """Whether two addresses are the same place."""
    left, right = urlsplit(one), urlsplit(other)
    return (left.scheme, left.netloc.lower(), left.path.rstrip("/"), left.query) == (
        right.scheme,
        right.netloc.lower(),
        right.path.rstrip("/"),
        right.query,
    )


def _endpoint(endpoint: Object) -> Sender:
    return Sender(
        id=str(endpoint["id"]),
        url=str(endpoint["url"]),
        kinds=frozenset(endpoint["enabled_events"]),
        is_on=endpoint["status"] == "enabled",
        is_ours=MARK in (endpoint["metadata"] or {}),
        api_version=endpoint["api_version"],
    )


def _is_one(destination: Object) -> bool:
    own = destination["events_from"] is None or any(whose in _OWN_ACCOUNT for whose in destination["events_from"])
    return bool(own and destination["type"] == "webhook_endpoint" and destination["webhook_endpoint"]["url"])


def _destination(destination: Object) -> Sender:
    thin = destination["event_payload"] == "thin"
    return Sender(
        id=str(destination["id"]),
        url=str(destination["webhook_endpoint"]["url"]),
        kinds=frozenset(map(kind_of, destination["enabled_events"]) if thin else destination["enabled_events"]),
        is_on=destination["status"] == "enabled",
        is_ours=MARK in (destination["metadata"] or {}),
        is_destination=True,
        is_thin=thin,
        api_version=destination["snapshot_api_version"],
    )

"""Who gets events: webhook endpoints of API v1 and event destinations of API v2, seen alike."""

from dataclasses import dataclass
from typing import Self

from stripe_sandbox.store import Object, Store

KINDS = ("webhook_endpoint", "v2.core.event_destination")


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where and how events are sent: thin ones, or snapshots in the shape of `version` (None: the sandbox's own)."""

    id: str
    url: str
    secret: str
    thin: bool
    version: str | None
    events: tuple[str, ...]
    enabled: bool

    @classmethod
    def of(cls, endpoint: Object) -> Self:
        """The receiver that an endpoint or a destination is."""
        v2 = endpoint["object"] == "v2.core.event_destination"
        return cls(
            endpoint["id"],
            endpoint["_url"] if v2 else endpoint["url"],
            endpoint["_secret"],
            v2 and endpoint["event_payload"] == "thin",
            endpoint["snapshot_api_version"] if v2 else endpoint["api_version"],
            tuple(endpoint["enabled_events"]),
            endpoint["status"] == "enabled",
        )

    def wants(self, event: Object) -> bool:
        """Whether this event, of its kind and type, is sent there."""
        thin = event["object"] == "v2.core.event"
        return self.enabled and thin is self.thin and ("*" in self.events or event["type"] in self.events)


def find(store: Store, id: str) -> Receiver | None:
    """The receiver of that id."""
    found = store.get(id)
    return Receiver.of(found) if found is not None and found["object"] in KINDS else None


def wanting(store: Store, event: Object) -> list[Receiver]:
    """All who want that event, newest first."""
    everyone = (Receiver.of(endpoint) for kind in KINDS for endpoint in store.newest_first(kind))
    return [receiver for receiver in everyone if receiver.wants(event)]

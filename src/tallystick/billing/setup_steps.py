"""The steps that set up an account at Stripe, each a plain fact that says in words what it will do. Pure."""

from dataclasses import dataclass, field
from typing import TypeAlias

from tallystick.billing.offers import Offer
from tallystick.domain.amounts import Money


@dataclass(frozen=True, slots=True)
class MakeProduct:
    """There is no product for what the catalogue sells."""

    id: str
    title: str

    def __str__(self) -> str:
        return f"make the product {self.title!r} ({self.id})"


@dataclass(frozen=True, slots=True)
class ChangeProduct:
    """A product of ours is called otherwise in the catalogue, or was archived."""

    id: str
    title: str | None
    activate: bool

    def __str__(self) -> str:
        changes = [f"call it {self.title!r}"] if self.title else []
        changes += ["take it out of the archive"] if self.activate else []
        return f"change the product {self.id}: {', '.join(changes)}"


@dataclass(frozen=True, slots=True)
class MakePrice:
    """There is no price that fits the catalogue. `replaces` had the lookup key so far; it stays as it is."""

    offer: Offer
    price: Money
    product: str
    replaces: str | None

    def __str__(self) -> str:
        instead = f", in the place of {self.replaces}" if self.replaces else ""
        return f"make a price for {self.offer.title!r}: {self.offer.terms} ({self.offer.lookup_key}){instead}"


@dataclass(frozen=True, slots=True)
class TakePrice:
    """A price fits, but is archived or would not be found again."""

    offer: Offer
    price: str
    is_archived: bool

    def __str__(self) -> str:
        archived = " and take it out of the archive" if self.is_archived else ""
        return f"give {self.price} the lookup key {self.offer.lookup_key}{archived}"


@dataclass(frozen=True, slots=True)
class ArchivePrice:
    """A price of ours that was replaced, and that nobody pays any more."""

    price: str
    offer: Offer

    def __str__(self) -> str:
        return f"archive {self.price}, a former price of {self.offer.title!r}"


@dataclass(frozen=True, slots=True)
class SetUpPortal:
    """The customer portal has no configuration of ours, or one that is out of date."""

    configuration: str | None

    def __str__(self) -> str:
        if self.configuration is None:
            return "make a configuration of the customer portal"
        return f"bring the configuration of the customer portal up to date ({self.configuration})"


@dataclass(frozen=True, slots=True)
class DeleteEndpoint:
    """An endpoint whose place a new one takes."""

    id: str
    url: str

    def __str__(self) -> str:
        return f"delete the webhook endpoint {self.id} at {self.url}"


@dataclass(frozen=True, slots=True)
class MakeEndpoint:
    """Nothing sends events to us."""

    url: str
    events: tuple[str, ...]
    api_version: str

    def __str__(self) -> str:
        return f"make a webhook endpoint at {self.url} for {len(self.events)} events, in version {self.api_version}"


@dataclass(frozen=True, slots=True)
class ChangeEndpoint:
    """An endpoint sends other events than we handle, or was switched off."""

    id: str
    events: tuple[str, ...] | None
    enable: bool

    def __str__(self) -> str:
        changes = [f"send exactly the {len(self.events)} events that are handled"] if self.events else []
        changes += ["switch it on"] if self.enable else []
        return f"change the webhook endpoint {self.id}: {', '.join(changes)}"


@dataclass(frozen=True, slots=True)
class ChangeDestination:
    """An event destination sends other events than we handle, or was switched off. `events` are as it names them."""

    id: str
    events: tuple[str, ...] | None
    enable: bool

    def __str__(self) -> str:
        changes = [f"send exactly the {len(self.events)} events that are handled"] if self.events else []
        changes += ["switch it on"] if self.enable else []
        return f"change the event destination {self.id}: {', '.join(changes)}"


Step: TypeAlias = (
    MakeProduct
    | ChangeProduct
    | MakePrice
    | TakePrice
    | ArchivePrice
    | SetUpPortal
    | DeleteEndpoint
    | MakeEndpoint
    | ChangeEndpoint
    | ChangeDestination
)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that setting up does not do by itself. `needed` says that it is not whole without it."""

    what: str
    to_do: str
    needed: bool = False


@dataclass(slots=True)
class Done:
    """What has been done so far: the steps, the prices by lookup key, and the secret of an endpoint that was made."""

    steps: list[Step] = field(default_factory=list)
    prices: dict[str, str] = field(default_factory=dict)
    webhook_secret: str | None = None

"""What is at Stripe and what the catalogue wants, made into steps. Pure: the same two always give the same steps.

Nothing here is ever taken away but an endpoint that is to be replaced: a price that somebody may still pay under
stays, and what was made by hand is left as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.billing.offers import Offer, disagreements
from tallystick.billing.portal_configuration import ours, portal_configuration
from tallystick.billing.senders import MARK, Sender, same_url, senders, sent_as
from tallystick.billing.setup_steps import (
    ArchivePrice,
    ChangeDestination,
    ChangeEndpoint,
    ChangeProduct,
    DeleteEndpoint,
    MakeEndpoint,
    MakePrice,
    MakeProduct,
    Notice,
    SetUpPortal,
    Step,
    TakePrice,
)

SECRET_SETTING = "STRIPE_WEBHOOK_SECRET"
_REVEAL = (
    "Stripe shows it in the dashboard: Developers > Webhooks > the endpoint > Signing secret. "
    "Or replace the endpoint by one with a new secret: tallystick stripe setup --new-secret"
)
_REVEAL_OF_DESTINATION = (
    "Stripe shows it in the dashboard, and rolls it there: Workbench > Webhooks > the destination > Signing secret."
)
_BY_HAND = "What cannot be read in them is fetched anew; when it suits, make another destination and delete this one."
_OR_ALL = ", or replace all: tallystick stripe setup --new-secret"
_UNSEEN = "The key may not look at event destinations, so whether one sends events here already is not known."

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What this installation needs. `webhook_url` is None where Stripe could not reach it; `has_secret` says
    whether a signing secret is configured; with `new_secret` the endpoint is replaced."""

    offers: tuple[Offer, ...]
    webhook_url: str | None
    events: tuple[str, ...]
    api_version: str
    portal_return_url: str
    mode: str
    has_secret: bool = False
    new_secret: bool = False


@dataclass(frozen=True, slots=True)
class There:
    """What Stripe has: prices and products by id, with all prices of the products that matter.

    `destinations` is None when the key may not look at event destinations. `latest_version` is that of the latest
    event, looked at where a sender has no version of its own.
    """

    prices: Mapping[str, Object]
    products: Mapping[str, Object]
    endpoints: tuple[Object, ...]
    destinations: tuple[Object, ...] | None
    portals: tuple[Object, ...]
    latest_version: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in their order, what is left to people, and the prices that are used as they are, by lookup key."""

    steps: tuple[Step, ...]
    notices: tuple[Notice, ...]
    prices: Mapping[str, str]


def make_plan(there: There, wanted: Wanted) -> Plan:
    """How to get from what is there to what is wanted."""
    chosen = {offer.lookup_key: choose(offer, there) for offer in wanted.offers}
    steps: list[Step] = []
    notices: list[Notice] = []
    for offer in wanted.offers:
        _price(offer, chosen, there, wanted, steps, notices)
    found = {key: str(price["id"]) for key, price in chosen.items() if price is not None}
    steps += _portal(chosen, there, wanted)
    _endpoint(there, wanted, steps, notices)
    return Plan(tuple(steps), tuple(notices), found)


def choose(offer: Offer, there: There) -> Object | None:
    """The price that an offer is sold under: the configured one if it fits, else one that was made for it."""
    configured = there.prices.get(offer.configured or "")
    if configured is not None and configured["active"] and not disagreements(offer, configured):
        return configured
    former = [price for price in there.prices.values() if _is_ours(price, offer) and not disagreements(offer, price)]
    # The one with the key first; else the latest, which an amount that is changed back comes back to.
    return max(former, key=lambda price: (price["lookup_key"] == offer.lookup_key, price["created"]), default=None)


def _is_ours(price: Object, offer: Offer) -> bool:
    return offer.lookup_key in (price["lookup_key"], (price.get("metadata") or {}).get(MARK))


def _price(
    offer: Offer,
    chosen: Mapping[str, Object | None],
    there: There,
    wanted: Wanted,
    steps: list[Step],
    notices: list[Notice],
) -> None:
    price = chosen[offer.lookup_key]
    holder = next((p for p in there.prices.values() if p["lookup_key"] == offer.lookup_key), None)
    if offer.configured is not None and offer.configured not in there.prices:
        notices.append(
            Notice(
                f"{offer.place} names {offer.configured}, which is not there in {wanted.mode} mode of this account.",
                "Use the price that stands below in its place.",
            )
        )
    if price is None and offer.price is None:
        what = (
            f"The catalogue does not say what {offer.title!r} comes to by the {offer.interval}, and it has no price."
        )
        to_do = 'Write it into the catalogue, like price = "19.00 USD" (price_yearly for a year), and run this again.'
        notices.append(Notice(what, to_do, needed=True))
        return
    product = _product_of(offer, price or holder, chosen, wanted)
    for step in _product(offer, product, there):
        if step not in steps:
            steps.append(step)
    if price is None and offer.price is not None:
        steps.append(MakePrice(offer, offer.price, product, None if holder is None else str(holder["id"])))
    elif price is not None and (not price["active"] or (price["lookup_key"] is None and _is_free(holder, offer))):
        steps.append(TakePrice(offer, str(price["id"]), not price["active"]))
    _archive(offer, price, there, steps, notices)


def _is_free(holder: Object | None, offer: Offer) -> bool:
    return holder is None or bool(disagreements(offer, holder))


def _product_of(offer: Offer, price: Object | None, chosen: Mapping[str, Object | None], wanted: Wanted) -> str:
    """The product of the price that is there, else that of another price of the same plan, else one of our own."""
    siblings = (chosen[other.lookup_key] for other in wanted.offers if other.product == offer.product)
    return next((str(found["product"]) for found in (price, *siblings) if found is not None), offer.product)


def _product(offer: Offer, id: str, there: There) -> list[Step]:
    product = there.products.get(id)
    if product is None:
        return [MakeProduct(id, offer.title)]
    renamed = MARK in product["metadata"] and product["name"] != offer.title
    if product["active"] and not renamed:
        return []
    return [ChangeProduct(id, offer.title if renamed else None, not product["active"])]


def _archive(offer: Offer, price: Object | None, there: There, steps: list[Step], notices: list[Notice]) -> None:
    """What was paid once under a former price is paid; subscribers go on paying theirs, so those stay in use."""
    if offer.interval is not None:
        return
    for former in there.prices.values():
        if not former["active"] or not _is_ours(former, offer):
            continue
        if price is not None and former["id"] == price["id"]:
            continue
        if there.products[former["product"]]["default_price"] == former["id"]:
            continue
        if price is not None and offer.configured == price["id"]:
            steps.append(ArchivePrice(str(former["id"]), offer))
        else:
            what = f"{former['id']} stays on sale until {offer.place} names the new price."
            notices.append(Notice(what, "Change it, restart the service, and run this again to archive the old one."))


def _portal(chosen: Mapping[str, Object | None], there: There, wanted: Wanted) -> list[Step]:
    plans = [offer for offer in wanted.offers if offer.interval is not None]
    params = portal_configuration(
        portal_sold(plans, {key: price for key, price in chosen.items() if price is not None}),
        wanted.portal_return_url,
    )
    id, is_current = ours(there.portals, params)
    all_there = all(chosen[offer.lookup_key] is not None or offer.price is None for offer in plans)
    return [] if is_current and all_there else [SetUpPortal(id)]


def portal_sold(offers: list[Offer] | tuple[Offer, ...], prices: Mapping[str, Object]) -> dict[str, list[str]]:
    """The prices of plans by product, as the portal's configuration has them; `prices` are by lookup key."""
    sold: dict[str, list[str]] = {}
    for offer in offers:
        if offer.interval is not None and offer.lookup_key in prices:
            price = prices[offer.lookup_key]
            sold.setdefault(str(price["product"]), []).append(str(price["id"]))
    return sold


def _endpoint(there: There, wanted: Wanted, steps: list[Step], notices: list[Notice]) -> None:
    if wanted.webhook_url is None:
        what = "BASE_URL is an address of this machine or network, which Stripe cannot reach: no webhook endpoint is made."
        to_do = (
            "Set BASE_URL to a public address and run this again. While you develop, let Stripe's CLI carry events "
            f"over: stripe listen --forward-to BASE_URL/api/stripe/webhook; {SECRET_SETTING} is the secret it prints."
        )
        notices.append(Notice(what, to_do, needed=not wanted.has_secret))
        return
    all_of_them = senders(there.endpoints, there.destinations or ())
    same = [found for found in all_of_them if same_url(found.url, wanted.webhook_url)]
    if wanted.new_secret:
        # In this order there are never two: what happens in between is found by reconciling.
        steps += [DeleteEndpoint(found.id, found.url) for found in same if not found.is_destination]
        notices += [_stays(found) for found in same if found.is_destination]
        same = []
    if not same:
        steps.append(MakeEndpoint(wanted.webhook_url, wanted.events, wanted.api_version))
        notices += _elsewhere(all_of_them, wanted.webhook_url)
        if there.destinations is None:
            notices.append(
                Notice(_UNSEEN, "Give the key that permission, or go on: what two tell takes effect once.")
            )
        return
    kept, *others = sorted(same, key=lambda found: _worth(found, wanted))
    steps += _change(kept, wanted)
    notices += _kept(kept, others, there, wanted)


def _worth(found: Sender, wanted: Wanted) -> tuple[bool, bool]:
    """Which of several is kept: one that does all that is needed, else an endpoint."""
    return bool(not found.is_on or found.lacks(wanted.events)), found.is_destination


def _change(kept: Sender, wanted: Wanted) -> list[Step]:
    """How to have it send exactly what is handled."""
    events = None if kept.kinds == set(wanted.events) else sent_as(wanted.events, thin=kept.is_thin)
    if events is None and kept.is_on:
        return []
    change = ChangeDestination if kept.is_destination else ChangeEndpoint
    return [change(kept.id, events, not kept.is_on)]


def _kept(kept: Sender, others: list[Sender], there: There, wanted: Wanted) -> list[Notice]:
    notices: list[Notice] = []
    if not wanted.has_secret:
        what = f"The signing secret of {kept.id} was shown when it was made, and {SECRET_SETTING} is not set."
        notices.append(Notice(what, _REVEAL_OF_DESTINATION if kept.is_destination else _REVEAL, needed=True))
    if not kept.is_versioned_as(wanted.api_version):
        what = (
            f"{kept.version_in_words(there.latest_version)}, and Tallystick is written for {wanted.api_version}. "
            f"The version of an {kept.noun} cannot be changed."
        )
        to_do = "Replace it by one with a new secret: tallystick stripe setup --new-secret"
        notices.append(Notice(what, _BY_HAND if kept.is_destination else to_do))
    for other in others:
        # One of each shape tells the same too, but that takes effect once, and is how one is changed for the other.
        if other.is_thin is kept.is_thin:
            what = f"{other.id} sends to the same address as {kept.id}, so every event comes twice."
            to_do = f"Delete the one whose secret is not in {SECRET_SETTING}"
            by_hand = other.is_destination or kept.is_destination
            notices.append(Notice(what, f"{to_do}." if by_hand else f"{to_do}{_OR_ALL}"))
    return notices


def _stays(found: Sender) -> Notice:
    what = f"{found.id} is an event destination, and goes on sending there with the secret it has."
    return Notice(what, f"Keep both secrets in {SECRET_SETTING}, or delete it in Stripe's dashboard.")


def _elsewhere(all_of_them: tuple[Sender, ...], url: str) -> list[Notice]:
    """What an earlier BASE_URL may have left."""
    return [
        Notice(
            f"{found.id} sends events to {found.url}.",
            f"If the service has moved from there, delete that {found.noun} in Stripe's dashboard.",
        )
        for found in all_of_them
        if found.is_ours and not same_url(found.url, url)
    ]

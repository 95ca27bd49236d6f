"""What was found at Stripe and in the database, made into findings that say how to mend each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tallystick.billing.offers import Offer, disagreements
from tallystick.billing.portal_configuration import ours, portal_configuration
from tallystick.billing.refusals import Refused
from tallystick.billing.senders import Sender, same_url, senders
from tallystick.billing.setup_plan import SECRET_SETTING, Wanted, portal_sold

SKEW_TOLD = 30
"""Seconds that our clock may differ from Stripe's before it is worth a word."""

SKEW_WRONG = 150
"""Half of the 300 seconds that a webhook's signature may be old (S26): past it, a slow delivery is refused."""

SETUP = "tallystick stripe setup"
_IN_THE_DATABASE = ("webhooks", "refused webhooks", "deliveries")

Object = Mapping[str, Any]


class State(StrEnum):
    """How a check came out. What could not be looked at is neither well nor wrong."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one check came out, and what to do about it."""

    check: str
    state: State
    what: str
    to_do: str | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be looked at: why, and what to do; `failed` when that alone keeps Tallystick from working."""

    why: str
    to_do: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose key it is, None if the key may not ask; and by how many seconds our clock is ahead of Stripe's."""

    account: Object | None
    skew: float | None


@dataclass(frozen=True, slots=True)
class Inbox:
    """Webhooks here: how many are parked, how many wait for longer than a worker would let them, what was refused in
    the last day, and how many Stripe has tried to deliver for a while and are not here."""

    parked: int
    waiting: int
    refused: tuple[Refused, ...]
    missing: int | Unseen


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was looked at. `prices` and `products` are by id, None for those that Stripe does not have.

    `latest_version` is that of Stripe's latest event, where a sender has no version of its own.
    """

    identity: Identity | Unseen
    prices: Mapping[str, Object | None] | Unseen
    products: Mapping[str, Object | None] | Unseen
    endpoints: tuple[Object, ...] | Unseen
    destinations: tuple[Object, ...] | Unseen
    latest_version: str | Unseen | None
    portals: tuple[Object, ...] | Unseen
    inbox: Inbox | Unseen
    settings: str | None


def diagnose(seen: Seen, wanted: Wanted) -> tuple[Finding, ...]:
    """Every check, in the order in which things have to be mended."""
    return (
        _settings(seen),
        *_identity(seen, wanted),
        *(_price(offer, seen, wanted) for offer in wanted.offers),
        *_endpoint(seen, wanted),
        _portal(seen, wanted),
        *_inbox(seen),
    )


def _settings(seen: Seen) -> Finding:
    if seen.settings is not None:
        to_do = "tallystick serve says of each how to get it."
        return Finding("settings", State.FAILED, f"{seen.settings}.", to_do)
    return Finding("settings", State.OK, "Everything that `tallystick serve` needs is set.")


def _identity(seen: Seen, wanted: Wanted) -> list[Finding]:
    found = seen.identity
    if isinstance(found, Unseen):
        return [_unseen(check, found) for check in ("key", "account", "clock")]
    return [_key(found, wanted), _account(found, wanted), _clock(found)]


def _key(found: Identity, wanted: Wanted) -> Finding:
    whose = "" if found.account is None else f" of {found.account['id']}"
    money = "no real money moves" if wanted.mode == "test" else "real money moves"
    return Finding("key", State.OK, f"Stripe takes the key{whose}, in {wanted.mode} mode: {money}.")


def _account(found: Identity, wanted: Wanted) -> Finding:
    if found.account is None:
        what = "The key may not read the account, so whether it can take payments is not known."
        return Finding("account", State.UNSEEN, what, "Nothing has to be done if customers can pay.")
    if wanted.mode == "live" and not found.account["charges_enabled"]:
        to_do = "Complete what Stripe asks for in its dashboard, at the top of the home page."
        return Finding("account", State.FAILED, "Stripe does not let this account take payments yet.", to_do)
    return Finding("account", State.OK, "It can take payments.")


def _clock(found: Identity) -> Finding:
    if found.skew is None:
        what = "The answer did not say what time it is at Stripe."
        return Finding("clock", State.UNSEEN, what, "Let the machine set its clock by the network.")
    by, which = round(abs(found.skew)), "ahead of" if found.skew > 0 else "behind"
    if by <= SKEW_TOLD:
        return Finding("clock", State.OK, f"The clock of this machine is within {SKEW_TOLD} s of Stripe's.")
    to_do = "Let the machine set its clock by the network, like: timedatectl set-ntp true"
    what = f"The clock of this machine is {by} s {which} Stripe's."
    if by <= SKEW_WRONG:
        return Finding("clock", State.WARNING, what, to_do)
    return Finding("clock", State.FAILED, f"{what} Webhooks are refused as too old, or soon will be.", to_do)


def _price(offer: Offer, seen: Seen, wanted: Wanted) -> Finding:
    check = f"price of {offer.title}, {offer.terms}"
    if isinstance(seen.prices, Unseen):
        return _unseen(check, seen.prices)
    if offer.configured is None:
        return Finding(check, State.FAILED, f"{offer.place} is not set.", f"{SETUP} finds or makes the price.")
    price = seen.prices.get(offer.configured)
    if price is None:
        what = f"{offer.place} names {offer.configured}, which is not there in {wanted.mode} mode of this account."
        return Finding(check, State.FAILED, what, f"{SETUP} finds or makes the right one.")
    wrong = disagreements(offer, price)
    if not price["active"]:
        wrong.append("it is archived, so nobody can buy it")
    if wrong:
        to_do = f"Correct the catalogue if it is wrong; else {SETUP} makes a price that fits."
        return Finding(check, State.FAILED, f"{offer.configured} does not fit: {'; '.join(wrong)}.", to_do)
    if isinstance(seen.products, Unseen):
        return _unseen(check, seen.products)
    product = seen.products.get(str(price["product"]))
    if product is None or not product["active"]:
        what = f"{offer.configured} is of product {price['product']}, which is archived, so nobody can buy it."
        return Finding(check, State.FAILED, what, f"{SETUP} takes it into use again.")
    return Finding(check, State.OK, f"{offer.configured} is on sale and fits the catalogue.")


def _endpoint(seen: Seen, wanted: Wanted) -> list[Finding]:
    secret = _secret(wanted)
    if wanted.webhook_url is None:
        what = "BASE_URL is an address of this machine or network, which Stripe cannot reach."
        to_do = (
            "While you develop: stripe listen --forward-to BASE_URL/api/stripe/webhook. Else set a public address."
        )
        return [secret, Finding("endpoint", State.WARNING, what, to_do)]
    if isinstance(seen.endpoints, Unseen):
        return [secret, _unseen("endpoint", seen.endpoints), _unseen("API version", seen.endpoints)]
    unseen = seen.destinations if isinstance(seen.destinations, Unseen) else None
    all_of_them = senders(seen.endpoints, () if isinstance(seen.destinations, Unseen) else seen.destinations)
    same = [found for found in all_of_them if same_url(found.url, wanted.webhook_url)]
    if not same and unseen is not None:
        return [secret, _unseen("endpoint", unseen), _unseen("API version", unseen)]
    if not same:
        what = f"Stripe sends no events to {wanted.webhook_url}: payments would only be found by reconciling."
        return [secret, Finding("endpoint", State.FAILED, what, f"{SETUP} makes the webhook endpoint.")]
    latest = None if isinstance(seen.latest_version, Unseen) else seen.latest_version
    return [secret, _one_endpoint(same, wanted), _version(same, latest, wanted)]


def _secret(wanted: Wanted) -> Finding:
    if wanted.has_secret:
        return Finding("signing secret", State.OK, f"{SECRET_SETTING} is set.")
    what = f"{SECRET_SETTING} is not set, so every webhook is refused."
    return Finding("signing secret", State.FAILED, what, f"{SETUP} makes the endpoint, or says where its secret is.")


def _one_endpoint(same: list[Sender], wanted: Wanted) -> Finding:
    check = "endpoint"
    on = [found for found in same if found.is_on]
    if not on:
        what = f"{same[0].id} is switched off, so Stripe sends no events."
        return Finding(
            check, State.FAILED, what, f"{SETUP} switches it on; `tallystick reconcile --apply` catches up."
        )
    missing = [kind for kind in wanted.events if all(found.lacks([kind]) for found in on)]
    names = " and ".join(found.id for found in on)
    if missing:
        what = f"{names} {'does' if len(on) == 1 else 'do'} not send {', '.join(missing)}."
        return Finding(check, State.FAILED, what, f"{SETUP} adds them; `tallystick reconcile --apply` catches up.")
    # One of each shape tells the same too, but that takes effect once, and is how one is changed for the other.
    if max(sum(found.is_thin is thin for found in on) for thin in (True, False)) > 1:
        what = f"{len(on)} endpoints send to the same address: {', '.join(found.id for found in on)}."
        to_do = f"Delete those whose secret is not in {SECRET_SETTING}"
        to_do += "." if any(found.is_destination for found in on) else f", or replace all: {SETUP} --new-secret"
        return Finding(check, State.WARNING, what, to_do)
    sends = "sends" if len(on) == 1 else "send"
    return Finding(check, State.OK, f"{names} {sends} what is needed to {wanted.webhook_url}.")


def _version(same: list[Sender], latest: str | None, wanted: Wanted) -> Finding:
    on = [found for found in same if found.is_on] or same
    others = [found for found in on if not found.is_versioned_as(wanted.api_version)]
    if all(found.is_thin for found in on):
        what = f"Events come thin, in no version; what they are about is fetched in {wanted.api_version}."
        return Finding("API version", State.OK, what)
    if not others:
        return Finding(
            "API version", State.OK, f"Events come in {wanted.api_version}, which Tallystick is written for."
        )
    what = (
        f"{others[0].version_in_words(latest)}, and Tallystick is written for {wanted.api_version}. "
        "What it cannot read in them is fetched anew."
    )
    return Finding("API version", State.WARNING, what, f"Replace it when it suits: {SETUP} --new-secret")


def _portal(seen: Seen, wanted: Wanted) -> Finding:
    check = "customer portal"
    if isinstance(seen.portals, Unseen):
        return _unseen(check, seen.portals)
    if isinstance(seen.prices, Unseen):
        return _unseen(check, seen.prices)
    prices = {
        offer.lookup_key: price
        for offer in wanted.offers
        if offer.configured and (price := seen.prices.get(offer.configured)) is not None
    }
    id, is_current = ours(
        seen.portals, portal_configuration(portal_sold(wanted.offers, prices), wanted.portal_return_url)
    )
    if is_current:
        return Finding(check, State.OK, f"{id} offers what the catalogue has.")
    what = (
        "There is no configuration of ours." if id is None else f"{id} was made from another catalogue or BASE_URL."
    )
    return Finding(check, State.WARNING, what, f"{SETUP} brings it up to date; so does the first customer's visit.")


def _inbox(seen: Seen) -> list[Finding]:
    found = seen.inbox
    if isinstance(found, Unseen):
        later = Unseen("Not looked at: what is kept there is in the database.", "Mend that first.")
        return [_unseen("database", found), *(_unseen(check, later) for check in _IN_THE_DATABASE)]
    return [
        Finding("database", State.OK, "It can be reached and has this version's schema."),
        _worked(found),
        _refused(found),
        _delivered(found.missing),
    ]


def _worked(found: Inbox) -> Finding:
    if found.parked:
        what = f"{found.parked:,} webhook(s) could not be worked and wait for an operator."
        return Finding("webhooks", State.FAILED, what, "tallystick events list --state parked")
    if found.waiting:
        what = f"{found.waiting:,} webhook(s) have waited for more than five minutes to be worked."
        return Finding("webhooks", State.WARNING, what, "Look whether `tallystick serve` is running, and its log.")
    return Finding("webhooks", State.OK, "All that came were worked.")


def _refused(found: Inbox) -> Finding:
    check = "refused webhooks"
    if not found.refused:
        return Finding(check, State.OK, "None in the last day.")
    what = ", ".join(f"{refused.count:,} as {refused.reason}" for refused in found.refused)
    # Anybody may knock, so this alone says nothing of the settings.
    return Finding(check, State.WARNING, f"In the last day: {what}.", found.refused[0].meaning)


def _delivered(missing: int | Unseen) -> Finding:
    if isinstance(missing, Unseen):
        return _unseen("deliveries", missing)
    if missing:
        what = f"{missing:,} event(s) of the last three days could not be delivered by Stripe and are not here."
        to_do = (
            f"Look whether BASE_URL can be reached from outside, and whether {SECRET_SETTING} is that of the endpoint. "
            "Then: tallystick reconcile --apply"
        )
        return Finding("deliveries", State.FAILED, what, to_do)
    return Finding("deliveries", State.OK, "Stripe waits with no event for this service.")


def _unseen(check: str, unseen: Unseen) -> Finding:
    return Finding(check, State.FAILED if unseen.failed else State.UNSEEN, unseen.why, unseen.to_do)

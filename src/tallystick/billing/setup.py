"""Sets up an account at Stripe for this installation: looks what is there, and takes the steps that are missing.

Every step can be repeated: killed anywhere and run again, it ends in the same place, and nothing is made twice.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe
import structlog

from tallystick.billing.errors import SetupStopped, StripeRejected, StripeUnavailable
from tallystick.billing.making import make_surely
from tallystick.billing.offers import Offer, offers
from tallystick.billing.portal import bring_portal_to
from tallystick.billing.portal_configuration import portal_configuration
from tallystick.billing.senders import MARK, follow_the_account, senders
from tallystick.billing.setup_plan import SECRET_SETTING, Plan, There, Wanted, make_plan, portal_sold
from tallystick.billing.setup_steps import (
    ArchivePrice,
    ChangeDestination,
    ChangeEndpoint,
    ChangeProduct,
    DeleteEndpoint,
    Done,
    MakeEndpoint,
    MakePrice,
    MakeProduct,
    SetUpPortal,
    Step,
    TakePrice,
)
from tallystick.billing.stripe_api import API_VERSION, BillingSettings, StripeApi
from tallystick.domain.catalogue import Catalogue

MAX_LOOKUP_KEYS = 10
"""How many lookup keys Stripe takes at once."""

log = structlog.get_logger(__name__)


class Setup:
    """Sets up one account at Stripe. `catalogue` may have `$NAME` for prices that `environment` has."""

    def __init__(
        self,
        settings: BillingSettings,
        api: StripeApi,
        catalogue: Catalogue,
        environment: Mapping[str, str],
        events: tuple[str, ...],
    ) -> None:
        self._settings = settings
        self._api = api
        self._environment = environment
        self._events = events
        self.offers = offers(catalogue, environment)

    @property
    def livemode(self) -> bool:
        """Whether the account is set up in live mode."""
        return self._settings.livemode

    async def plan(self, *, new_secret: bool = False) -> Plan:
        """What has to be done; changes nothing. Raises SetupStopped."""
        try:
            return make_plan(await self.look(), self.wanted(new_secret=new_secret))
        except (StripeRejected, StripeUnavailable) as error:
            raise SetupStopped("Stripe could not be looked at", stripes_words(error), Done()) from error

    async def apply(self, plan: Plan, watch: Callable[[Step], None] = lambda _: None) -> Done:
        """Take the steps, and tell `watch` of each before it is taken.

        Raises SetupStopped, which has what was done until then; planned and applied again it goes on from there.
        """
        done = Done(prices=dict(plan.prices))
        for step in plan.steps:
            watch(step)
            try:
                await self._take(step, done)
            except (StripeRejected, StripeUnavailable) as error:
                raise SetupStopped(f"This step failed: {step}", stripes_words(error), done) from error
            done.steps.append(step)
            log.info("stripe_set_up", step=str(step))
        return done

    def wanted(self, *, new_secret: bool = False) -> Wanted:
        """What this installation needs."""
        return Wanted(
            offers=self.offers,
            webhook_url=self._settings.webhook_url if can_be_reached(self._settings) else None,
            events=self._events,
            api_version=API_VERSION,
            portal_return_url=f"{self._settings.base_url}{self._settings.portal_return_path}",
            mode=self._settings.mode,
            has_secret=bool(self._settings.webhook_secrets),
            new_secret=new_secret,
        )

    async def look(self) -> There:
        """What Stripe has that matters to us. Raises StripeRejected and StripeUnavailable."""
        prices: dict[str, dict[str, Any]] = {}
        keys = [offer.lookup_key for offer in self.offers]
        for n in range(0, len(keys), MAX_LOOKUP_KEYS):
            prices |= _by_id(await self._api.prices(lookup_keys=keys[n : n + MAX_LOOKUP_KEYS]))
        for id in {offer.configured for offer in self.offers if offer.configured} - prices.keys():
            found = await self._api.find_price(id)
            prices |= {} if found is None else {id: found}
        products = {}
        for id in sorted({price["product"] for price in prices.values()} | {offer.product for offer in self.offers}):
            product = await self._api.find_product(id)
            if product is not None:
                products[id] = product
                prices |= _by_id(await self._api.prices(product=id))
        endpoints = tuple(await self._api.webhook_endpoints())
        destinations = await self._destinations()
        return There(
            prices=prices,
            products=products,
            endpoints=endpoints,
            destinations=destinations,
            portals=tuple(await self._api.portal_configurations()),
            latest_version=await self.latest_version(endpoints, destinations or ()),
        )

    async def latest_version(
        self, endpoints: Iterable[Mapping[str, Any]], destinations: Iterable[Mapping[str, Any]]
    ) -> str | None:
        """The API version of Stripe's latest event, where one of these sends events in the account's default version.

        None also when there is no event yet, or the key may not look at them.
        """
        if not follow_the_account(senders(endpoints, destinations)):
            return None
        try:
            return await self._api.version_of_latest_event()
        except StripeRejected as error:
            if error.details["stripe_status"] != 403:
                raise
            return None

    async def _destinations(self) -> tuple[dict[str, Any], ...] | None:
        try:
            return tuple(await self._api.event_destinations())
        except StripeRejected as error:
            if error.details["stripe_status"] != 403:
                raise
            return None

    def environment_lines(self, done: Done) -> dict[str, str]:
        """The settings that have to be other than they are."""
        lines = {
            offer.setting: done.prices[offer.lookup_key]
            for offer in self.offers
            if offer.setting is not None and offer.lookup_key in done.prices
        }
        if done.webhook_secret is not None:
            lines[SECRET_SETTING] = done.webhook_secret
        return {name: value for name, value in lines.items() if self._environment.get(name) != value}

    def catalogue_lines(self, done: Done) -> list[tuple[Offer, str]]:
        """The prices that stand in the catalogue itself and have to be others, each with what it has to be."""
        return [
            (offer, done.prices[offer.lookup_key])
            for offer in self.offers
            if offer.setting is None and done.prices.get(offer.lookup_key, offer.configured) != offer.configured
        ]

    async def _take(self, step: Step, done: Done) -> None:
        match step:
            case MakeProduct(id, title):
                await self._make_product(id, title)
            case ChangeProduct(id, title, activate):
                named = {"name": title} if title else {}
                await self._api.update_product(id, {**named, **({"active": True} if activate else {})})
            case MakePrice():
                done.prices[step.offer.lookup_key] = (await self._make_price(step))["id"]
            case TakePrice(offer, price, _):
                await self._api.update_price(price, {"active": True, **_marked(offer), "transfer_lookup_key": True})
            case ArchivePrice(price, _):
                await self._api.update_price(price, {"active": False})
            case SetUpPortal():
                await self._set_up_portal(done)
            case DeleteEndpoint(id, _):
                await self._api.delete_webhook_endpoint(id)
            case MakeEndpoint():
                done.webhook_secret = await self._make_endpoint(step)
            case ChangeEndpoint(id, events, enable):
                changes = ({"enabled_events": list(events)} if events else {}) | (
                    {"disabled": False} if enable else {}
                )
                await self._api.update_webhook_endpoint(id, changes)

            case ChangeDestination(id, events, enable):
                if events:
                    await self._api.update_event_destination(id, {"enabled_events": list(events)})
                if enable:
                    await self._api.enable_event_destination(id)

    async def _make_product(self, id: str, title: str) -> None:
        params = {"id": id, "name": title, "metadata": {MARK: id}}

        async def is_there(made: dict[str, Any]) -> bool:
            return await self._api.find_product(made["id"]) is not None

        try:
            await make_surely(self._api.create_product, params, is_there, "product")
        except StripeRejected as error:
            # Somebody else who sets up the same account was faster.
            if error.details["stripe_code"] != "resource_already_exists" or not await is_there(params):
                raise

    async def _make_price(self, step: MakePrice) -> dict[str, Any]:
        offer = step.offer
        params: dict[str, Any] = {
            "product": step.product,
            "unit_amount": step.price.minor,
            "currency": step.price.currency.lower(),
            **_marked(offer),
            "transfer_lookup_key": True,
        }
        if offer.interval is not None:
            params["recurring"] = {"interval": offer.interval}

        async def is_there(made: dict[str, Any]) -> bool:
            found = await self._api.find_price(made["id"])
            return found is not None and found["active"] and found["lookup_key"] == offer.lookup_key

        return await make_surely(self._api.create_price, params, is_there, "price")

    async def _set_up_portal(self, done: Done) -> None:
        prices = {}
        for offer in self.offers:
            if offer.interval is not None and offer.lookup_key in done.prices:
                prices[offer.lookup_key] = await self._api.price(done.prices[offer.lookup_key])
        wanted = portal_configuration(portal_sold(self.offers, prices), self.wanted().portal_return_url)
        await bring_portal_to(self._api, wanted)

    async def _make_endpoint(self, step: MakeEndpoint) -> str:
        params = {
            "url": step.url,
            "enabled_events": list(step.events),
            "api_version": step.api_version,
            "description": "Tallystick",
            "metadata": {MARK: "webhook"},
        }
        make, has = self._api.create_webhook_endpoint, self._api.has_webhook_endpoint
        return str((await make_surely(make, params, has, "endpoint"))["secret"])


def can_be_reached(settings: BillingSettings) -> bool:
    """Whether events can be sent to BASE_URL: by Stripe only over the internet, by a sandbox in any case."""
    if settings.api_base is not None:
        return True
    host = urlsplit(settings.base_url).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".test", ".internal")):
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True


def writes(*, livemode: bool, dry_run: bool, apply: bool) -> bool:
    """Whether to take the steps, or only to say them: in live mode only when that is asked for."""
    return not dry_run and (apply or not livemode)


def stripes_words(error: StripeRejected | StripeUnavailable) -> str:
    """What Stripe itself said, for an operator; ours where it said nothing."""
    if isinstance(error, StripeUnavailable):
        return "Stripe did not answer in time"
    cause = error.__cause__
    if isinstance(cause, stripe.AuthenticationError):
        return "Stripe does not know the key in STRIPE_SECRET_KEY. Copy it again: dashboard > Developers > API keys."
    return str(getattr(cause, "user_message", None) or error.message)


def _marked(offer: Offer) -> dict[str, Any]:
    return {"lookup_key": offer.lookup_key, "metadata": {MARK: offer.lookup_key}}


def _by_id(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {price["id"]: price for price in found}

"""Stripe's customer portal, where customers change plan, card and details, cancel, and take that back.

What it offers is set up in code, from the catalogue: see portal_configuration.
"""

from typing import Any

import structlog

from tallystick.billing.customers import Customers
from tallystick.billing.errors import NoCustomer, StripeRejected
from tallystick.billing.making import make_surely
from tallystick.billing.portal_configuration import ours, portal_configuration
from tallystick.billing.stripe_api import BillingSettings, StripeApi
from tallystick.billing.subscription_table import SubscriptionTable
from tallystick.billing.subscriptions import Subscriptions
from tallystick.domain.catalogue import Catalogue

log = structlog.get_logger(__name__)


async def ensure_portal_configuration(api: StripeApi, catalogue: Catalogue, return_url: str) -> str:
    """The id of the portal's configuration at Stripe, made or brought up to date if needed. Safe to repeat.

    Raises StripeUnavailable, and StripeRejected as when a price of the catalogue is not there.
    """
    sold: dict[str, list[str]] = {}
    for plan in catalogue.plans:
        for price in plan.prices:
            product = (await api.price(price.stripe_price))["product"]
            sold.setdefault(product, []).append(price.stripe_price)
    return await bring_portal_to(api, portal_configuration(sold, return_url))


async def bring_portal_to(api: StripeApi, wanted: dict[str, Any]) -> str:
    """The same for a configuration that is known already."""
    id, is_current = ours(await api.portal_configurations(), wanted)
    if id is None:
        made = await make_surely(api.create_portal_configuration, wanted, api.has_portal_configuration, "portal")
        log.info("portal_set_up", configuration=made["id"])
        return str(made["id"])
    if not is_current:
        log.info("portal_changed", configuration=id)
        await api.update_portal_configuration(id, wanted)
    return id


class Portal:
    """Opens the portal for a customer."""

    def __init__(
        self,
        settings: BillingSettings,
        api: StripeApi,
        catalogue: Catalogue,
        customers: Customers,
        table: SubscriptionTable,
        subscriptions: Subscriptions,
    ) -> None:
        self._settings = settings
        self._api = api
        self._catalogue = catalogue
        self._customers = customers
        self._table = table
        self._subscriptions = subscriptions
        self._configuration: str | None = None

    async def open(self, account_id: str) -> str:
        """The address of a portal session, good for one visit soon. Raises NoCustomer.

        Where Stripe has neither customer nor subscription any more, that one ends here: there is nothing to manage.
        """
        carrier = next(iter(await self._table.of_account(account_id)), None)
        customer = carrier.stripe_customer_id if carrier is not None and carrier.is_live else None
        customer = customer or await self._customers.of_account(account_id)
        if customer is None or await self._api.customer(customer) is None:
            if carrier is not None and carrier.is_live:
                await self._subscriptions.end_if_lost(carrier)
            raise NoCustomer
        return await self.visit(customer)

    async def visit(self, stripe_customer_id: str) -> str:
        """The same for a customer of Stripe that is there."""
        return await self._session({"customer": stripe_customer_id})

    async def change(self, subscription: dict[str, Any], price: str) -> str:
        """The address of the portal's page that confirms the change of a subscription to another price."""
        item = subscription["items"]["data"][0]
        flow = {
            "type": "subscription_update_confirm",
            "subscription_update_confirm": {
                "subscription": subscription["id"],
                "items": [{"id": item["id"], "price": price, "quantity": 1}],
            },
            "after_completion": {
                "type": "redirect",
                "redirect": {"return_url": f"{self._settings.base_url}{self._settings.plan_success_path}"},
            },
        }
        return await self._session({"customer": subscription["customer"], "flow_data": flow})

    async def _session(self, params: dict[str, Any]) -> str:
        params = {**params, "return_url": self._return_url}
        if self._configuration is not None:
            try:
                return await self._open(params, self._configuration)
            except StripeRejected:
                # Somebody may have switched it off in the dashboard.
                log.warning("portal_configuration_refused", configuration=self._configuration)
        self._configuration = await ensure_portal_configuration(self._api, self._catalogue, self._return_url)
        return await self._open(params, self._configuration)

    async def _open(self, params: dict[str, Any], configuration: str) -> str:
        return str((await self._api.open_portal({**params, "configuration": configuration}))["url"])

    @property
    def _return_url(self) -> str:
        return f"{self._settings.base_url}{self._settings.portal_return_path}"

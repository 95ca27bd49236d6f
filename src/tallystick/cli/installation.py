"""What commands work with that need Stripe: the installation's billing, without the service's work in the background."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tallystick.billing import Billing
from tallystick.clock import system_clock
from tallystick.config import environment, load_ledger_settings, load_stripe_settings
from tallystick.database.engine import Database
from tallystick.database.schema import require_current
from tallystick.ledger import Ledger
from tallystick.service import BillingNotConfigured


@asynccontextmanager
async def billing() -> AsyncIterator[Billing]:
    """Billing as the environment describes it. Raises ConfigurationError, SchemaOutOfDate, BillingNotConfigured."""
    env = environment()
    url, catalogue = load_ledger_settings(env)
    settings = load_stripe_settings(env)
    if settings is None:
        raise BillingNotConfigured
    await require_current(url)
    database = Database.connect(url)
    ledger = await Ledger.open(url, catalogue, system_clock, database.turns)
    made = Billing(settings, database, ledger, catalogue, system_clock)
    try:
        yield made
    finally:
        await made.close()
        await ledger.close()
        await database.close()

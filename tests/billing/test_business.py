"""Self-healing, for weeks of business of which every 7th webhook was lost."""

from types import SimpleNamespace

import pytest

from tallystick.billing import Report
from tallystick.billing.billing import HANDLED_EVENTS
from tallystick.billing.differences import Kind
from tests.billing.business import Business, open_business
from tests.billing.conftest import forget_events
from tests.billing.lifecycle import T0
from tests.conftest import Fresh
from tests.transactions import Watch


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.billing.comparisons.CALLS_PER_SECOND", 10_000)
    monkeypatch.setattr("stripe_sandbox.sandbox.time", SimpleNamespace(time=T0.timestamp))


async def heal(business: Business) -> Report:
    return await business.shop.billing.reconcile(since=T0, apply=True)


def assert_everything_happened(business: Business) -> None:
    """Or the month would prove less than it says."""
    assert set(HANDLED_EVENTS) - set(business.told) <= {
        "charge.dispute.updated",
        "subscription_schedule.released",
        "radar.early_fraud_warning.created",
        "customer.deleted",
    }
    paid = business.shop.sandbox.store.newest_first("invoice", lambda invoice: bool(invoice["status"] == "paid"))
    assert {invoice["billing_reason"] for invoice in paid} == {
        "subscription_create",
        "subscription_cycle",
        "subscription_update",
    }


@pytest.mark.parametrize(("month", "is_forgotten"), [(1, False), (2, True)], ids=["told", "forgotten"])
async def test_after_a_month_with_every_7th_webhook_lost_all_accounts_are_as_if_none_had_been(
    fresh_database: Fresh,
    transactions: Watch,
    monkeypatch: pytest.MonkeyPatch,
    month: int,
    is_forgotten: bool,
) -> None:
    """Whether Stripe tells its events once more, or has forgotten them."""
    if is_forgotten:
        forget_events(monkeypatch)
    async with fresh_database() as url, open_business(url, month, drop=False) as whole:
        await whole.go_on()
        expected = await whole.states()
        assert_everything_happened(whole)
        await assert_nothing_is_left(whole)
    async with fresh_database() as url, open_business(url, month, drop=True) as holed:
        await holed.go_on()
        assert holed.told == whole.told
        assert await holed.states() != expected
        report = await heal(holed)
        assert (report.left, report.unexplained) == ([], 0)
        found = {difference.kind for difference in report.repaired}
        if is_forgotten:
            assert {Kind.PAID_NOT_CREDITED, Kind.NOT_CLOSED} <= found
        else:
            assert (found, len(report.repaired)) == ({Kind.EVENT_NOT_RECEIVED}, len(holed.told) // 7)
        assert await holed.states() == expected
        await assert_nothing_is_left(holed)
    # In all of that Stripe was never called within a transaction.
    assert (transactions.calls > 1_000, transactions.transactions > 1_000, transactions.within) == (True, True, [])


async def assert_nothing_is_left(business: Business) -> None:
    report = await heal(business)
    assert (report.left, report.repaired, report.unexplained) == ([], [], 0)
    await business.shop.assert_proven()

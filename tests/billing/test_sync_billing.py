"""Buying without `await`, by the code of docs/embedding.md as it stands, on both databases (S20, S21)."""

import re
from pathlib import Path
from typing import Any

import pytest

from stripe_sandbox.pytest_plugin import stripe_sandbox
from stripe_sandbox.running import RunningSandbox
from tallystick.domain.catalogue import Catalogue
from tallystick.service import BillingNotConfigured, NotOpen
from tallystick.sync import SyncTallystick
from tests.billing.conftest import SECRET, seed

__all__ = ["stripe_sandbox"]
PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"


def make(database_url: str, catalogue: Catalogue, sandbox: RunningSandbox) -> SyncTallystick:
    return SyncTallystick(
        database_url,
        plans=catalogue.plans,
        packs=catalogue.packs,
        stripe_secret_key="sk_test_1",
        stripe_webhook_secrets=[SECRET],
        stripe_api_base=sandbox.url,
        base_url="http://shop.test",
    )


def documented(credits: SyncTallystick) -> dict[str, Any]:
    """The functions that the page shows."""
    (program,) = re.findall(r"```python\n([^`]*def thanks\(.*?)```", PAGE.read_text(), re.DOTALL)
    functions: dict[str, Any] = {"credits": credits}
    exec(program, functions)  # noqa: S102 - our own page
    return functions


def test_s21_a_pack_is_bought_without_await(
    database_url: str, catalogue: Catalogue, stripe_sandbox: RunningSandbox
) -> None:
    seed(stripe_sandbox.sandbox)
    with make(database_url, catalogue, stripe_sandbox) as credits:
        shop = documented(credits)
        credits.open_account("ann", "plus")
        session = shop["buy"]("ann").rpartition("/")[2]
        stripe_sandbox.pay(session)
        assert shop["thanks"]("ann", session) == "credited"
        for body, headers in stripe_sandbox.webhooks(SECRET):
            assert shop["webhook"](body, headers) == 200
        assert shop["webhook"](b"{}", {}) == 400
        assert credits.balance("ann").bonus == 200


def test_billing_without_await_says_what_it_needs(
    database_url: str, catalogue: Catalogue, stripe_sandbox: RunningSandbox
) -> None:
    credits = make(database_url, catalogue, stripe_sandbox)
    with pytest.raises(NotOpen):
        _ = credits.billing
    with SyncTallystick(database_url, plans=catalogue.plans) as without, pytest.raises(BillingNotConfigured):
        _ = without.billing

"""The fixture that comes with the package, used as anyone would."""

import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import stripe

from stripe_sandbox.pytest_plugin import stripe_sandbox
from stripe_sandbox.running import NotDelivered, NotPaid, RunningSandbox

__all__ = ["stripe_sandbox"]
SECRET = "whsec_mine"


def checkout(sandbox: RunningSandbox, mode: Any = "payment", **given: Any) -> stripe.checkout.Session:
    recurring = "month" if mode == "subscription" else None
    sandbox.sandbox.seed_price(
        price_id="price_1", product_name="Pack", unit_amount=599, currency="usd", recurring=recurring
    )
    return sandbox.client.v1.checkout.sessions.create(
        {
            "mode": mode,
            "success_url": "http://shop.test/thanks?session_id={CHECKOUT_SESSION_ID}",
            "line_items": [{"price": "price_1", "quantity": 1, "adjustable_quantity": {"enabled": True}}],
            **given,
        }
    )


def test_a_session_is_paid_and_its_events_are_handed_to_a_test_client(stripe_sandbox: RunningSandbox) -> None:
    session = checkout(stripe_sandbox)
    assert stripe_sandbox.pay(session) == f"http://shop.test/thanks?session_id={session.id}"
    ((body, headers),) = stripe_sandbox.webhooks(SECRET, ["checkout.session.completed"])
    event = stripe_sandbox.client.construct_event(body, headers["Stripe-Signature"], SECRET)
    assert event.data.object.id == session.id
    assert stripe_sandbox.webhooks(SECRET) == []


def test_the_program_that_the_readme_begins_with_runs_as_it_stands(
    stripe_sandbox: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(str(files("stripe_sandbox"))) / "README.md").read_text()
    (program,) = re.findall(r"```python\n(import stripe\n.*?)```", readme, re.DOTALL)
    exec(program.replace("http://127.0.0.1:12111", stripe_sandbox.url), {})  # noqa: S102 - our own page
    session = capsys.readouterr().out.strip().rpartition("/")[2]
    assert stripe_sandbox.pay(session) == "http://127.0.0.1:8000/thanks"


def test_a_card_that_is_declined_says_why(stripe_sandbox: RunningSandbox) -> None:
    session = checkout(stripe_sandbox)
    with pytest.raises(NotPaid, match="insufficient funds"):
        stripe_sandbox.pay(session.id, "4000 0000 0000 9995")
    with pytest.raises(NotPaid, match="unable to authenticate"):
        stripe_sandbox.pay(session, "4000 0000 0000 3220", confirm=False)
    stripe_sandbox.pay(session, "4000 0000 0000 3220")
    with pytest.raises(NotPaid, match="not open"):
        stripe_sandbox.pay(session)


def test_a_quantity_is_chosen_and_a_code_used_before_it_is_paid(stripe_sandbox: RunningSandbox) -> None:
    client = stripe_sandbox.client
    coupon = client.v1.coupons.create({"percent_off": 50})
    client.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "HALF"})
    session = checkout(stripe_sandbox, allow_promotion_codes=True)
    with pytest.raises(NotPaid, match="from 1 to 99"):
        stripe_sandbox.pay(session, quantity=100)
    with pytest.raises(NotPaid, match="This code is invalid"):
        stripe_sandbox.pay(session, promotion_code="NONE")
    stripe_sandbox.pay(session, quantity=2, promotion_code="half")
    assert client.v1.checkout.sessions.retrieve(session.id).amount_total == 599


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_bank_transfer_arrives_or_bounces(stripe_sandbox: RunningSandbox, succeeds: bool) -> None:
    session = checkout(stripe_sandbox)
    stripe_sandbox.pay(session, None)
    sessions = stripe_sandbox.client.v1.checkout.sessions
    stripe_sandbox.settle(str(sessions.retrieve(session.id).payment_intent), succeeds=succeeds)
    assert sessions.retrieve(session.id).payment_status == ("paid" if succeeds else "unpaid")


def test_time_goes_on(stripe_sandbox: RunningSandbox) -> None:
    stripe_sandbox.pay(checkout(stripe_sandbox, "subscription"))
    stripe_sandbox.advance(days=32)
    # An hour later the draft of the renewal is finalized and paid.
    stripe_sandbox.advance(seconds=3700)
    paid = stripe_sandbox.sandbox.events("invoice.paid")
    assert [event["data"]["object"]["billing_reason"] for event in paid] == [
        "subscription_create",
        "subscription_cycle",
    ]


def test_what_nobody_takes_is_told(stripe_sandbox: RunningSandbox) -> None:
    assert stripe_sandbox.send_webhooks_to("http://127.0.0.1:9/hook", SECRET) == SECRET
    stripe_sandbox.client.v1.customers.create({})
    with pytest.raises(NotDelivered, match="1 deliveries"):
        stripe_sandbox.wait_for_deliveries(0.2)


def test_pytest_finds_the_fixture_and_loads_nothing_else_for_it() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module = project["entry-points"]["pytest11"]["stripe_sandbox"]
    code = f"import sys, {module} as plugin; print(hasattr(plugin, 'stripe_sandbox'), 'stripe' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"]

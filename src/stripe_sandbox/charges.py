"""Charges: found, looked at, annotated. `payments` makes them."""

from stripe import params

from stripe_sandbox import operations, shapes
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def of_payment(sandbox: Sandbox, id: str) -> Object:
    """The charge behind a charge's, a payment intent's or a checkout session's id. Raises Stripe's error for none."""
    found = sandbox.store.get(id)
    if found is not None and found["object"] == "checkout.session":
        found = sandbox.store.get(found.get("_intent", ""))
    if found is not None and found["object"] == "payment_intent":
        found = sandbox.store.get(found["latest_charge"] or "")
    if found is None or found["object"] != "charge":
        raise missing("payment", id)
    return found


def require_captured(charge: Object) -> None:
    """Raises Stripe's error for a charge that took no money."""
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise StripeError(
            f"This PaymentIntent ({charge['payment_intent']}) does not have a successful charge to refund.",
            saved=True,
        )


def _refunds(sandbox: Sandbox, charge: Object) -> Object:
    found = sandbox.store.newest_first("refund", lambda refund: bool(refund["charge"] == charge["id"]))
    return shapes.list_of(found[:10], f"/v1/charges/{charge['id']}/refunds", has_more=len(found) > 10)


INCLUDES = {("charge", "refunds"): _refunds}
OPERATIONS = [
    operations.list_of("charge", "/charges", params.ChargeListParams),
    operations.retrieve("charge", "/charges", params.ChargeRetrieveParams),
    operations.update("charge", "/charges", params.ChargeUpdateParams),
]

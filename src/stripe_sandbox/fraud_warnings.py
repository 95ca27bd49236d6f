"""Early fraud warnings: a bank thinks that a payment was not its customer's."""

from stripe.params import radar

from stripe_sandbox import charges, later, operations
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_TYPE = "radar.early_fraud_warning"


def issue(sandbox: Sandbox, payment: str, fraud_type: str = "misc") -> Object:
    """Have the bank warn of a payment, given by the id of its charge, payment intent or checkout session."""
    with sandbox.store.transaction():
        charge = charges.of_payment(sandbox, payment)
        charges.require_captured(charge)
        warning = {
            "id": new_id("issfr"),
            "object": _TYPE,
            "actionable": not (charge["refunded"] or charge["disputed"]),
            "charge": charge["id"],
            "created": sandbox.now(),
            "fraud_type": fraud_type,
            "livemode": False,
            "payment_intent": charge["payment_intent"],
        }
        sandbox.store.put(warning)
        sandbox.emit(f"{_TYPE}.created", warning)
        return warning


def settle(sandbox: Sandbox, charge: Object) -> None:
    """A payment that was refunded or disputed is nothing to act on any more."""
    for warning in sandbox.store.newest_first(_TYPE, lambda w: bool(w["charge"] == charge["id"] and w["actionable"])):
        sandbox.changed(f"{_TYPE}.updated", warning, actionable=False)


def _issue(sandbox: Sandbox, charge_id: str) -> None:
    issue(sandbox, charge_id)


LATER: later.Handlers = {"fraud_warning.issue": _issue}

_PATH = "/radar/early_fraud_warnings"
OPERATIONS = [
    operations.list_of(_TYPE, _PATH, radar.EarlyFraudWarningListParams),
    operations.retrieve(_TYPE, _PATH, radar.EarlyFraudWarningRetrieveParams),
]

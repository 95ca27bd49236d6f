"""Refunds: given in full or in parts, settled at once or later, and those that fail in the end."""

from stripe import params

from stripe_sandbox import balance, charges, fraud_warnings, later, lists, operations
from stripe_sandbox.card_table import card_of
from stripe_sandbox.cards import Refunding
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

LATER_SECONDS = 60
"""How long the cards whose refunds settle or fail later take for it."""

CANCEL_SECONDS = 1800
"""How long a card refund can be taken back, as in Stripe's dashboard."""


def create(sandbox: Sandbox, given: Object) -> Object:
    """Give money back, the rest of a charge or `amount` of it. Raises Stripe's error."""
    charge = _charge(sandbox, given)
    charges.require_captured(charge)
    amount = _amount(sandbox, charge, given)
    refunding = card_of(sandbox.get(charge["payment_method"], "payment_method")).refunding
    refund = _shape(sandbox, charge, amount, given)
    if refunding is not Refunding.LATER:
        refund |= {"status": "succeeded", "balance_transaction": _withdraw(sandbox, charge, refund)["id"]}
    sandbox.store.put(refund)
    if refunding is not Refunding.AT_ONCE:
        later.schedule(
            sandbox, "refund.succeed" if refunding is Refunding.LATER else "refund.fail", refund["id"], LATER_SECONDS
        )
    if given.get("reason") == "fraudulent":
        charge["fraud_details"] = {"user_report": "fraudulent"}
    sandbox.emit("refund.created", refund)
    refunded = charge["amount_refunded"] + amount
    whole = refunded == charge["amount"]
    charge = sandbox.changed("charge.refunded", charge, amount_refunded=refunded, refunded=whole)
    if whole:
        fraud_warnings.settle(sandbox, charge)
    return refund


def succeed(sandbox: Sandbox, id: str) -> Object:
    """Let a pending refund arrive. Raises StripeError when it is not pending."""
    with sandbox.store.transaction():
        refund = _in_state(sandbox, id, "pending")
        charge = sandbox.get(refund["charge"], "charge")
        transaction = _withdraw(sandbox, charge, refund)
        return _tell(sandbox, refund, status="succeeded", balance_transaction=transaction["id"])


def fail(sandbox: Sandbox, id: str, reason: str = "expired_or_canceled_card") -> Object:
    """Let a refund fail, also one that seemed to succeed: the money comes back, the charge counts it as not given.

    Raises StripeError when it has failed or was cancelled.
    """
    with sandbox.store.transaction():
        refund = _take_back(sandbox, _in_state(sandbox, id, "pending", "succeeded"), "failed", reason)
        sandbox.emit("refund.failed", refund)
        return refund


def cancel(sandbox: Sandbox, id: str) -> Object:
    """Take a refund back, as the dashboard can for half an hour. Raises StripeError when it is too late."""
    with sandbox.store.transaction():
        refund = _in_state(sandbox, id, "pending", "succeeded")
        if sandbox.now() > refund["created"] + CANCEL_SECONDS:
            raise StripeError(f"Refund {id} is more than 30 minutes old and can no longer be canceled.")
        return _take_back(sandbox, refund, "canceled", "merchant_request")


def fail_pending(sandbox: Sandbox, charge: Object) -> None:
    """What was still on its way when the payment was charged back does not arrive."""
    for refund in sandbox.store.newest_first("refund", lambda r: bool(r["charge"] == charge["id"])):
        if refund["status"] == "pending":
            fail(sandbox, refund["id"], "charge_for_pending_refund_disputed")


def _charge(sandbox: Sandbox, given: Object) -> Object:
    if "charge" in given:
        return sandbox.get(given["charge"], "charge", param="charge", status=400)
    if "payment_intent" not in given:
        raise StripeError(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    intent = sandbox.get(given["payment_intent"], "payment_intent", param="payment_intent", status=400)
    found = sandbox.store.get(intent["latest_charge"] or "", "charge")
    if found is None:
        raise StripeError(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.", saved=True
        )
    return found


def _amount(sandbox: Sandbox, charge: Object, given: Object) -> int:
    """What to give back. Raises Stripe's error when there is not so much, or the bank has taken it."""
    if _is_charged_back(sandbox, charge):
        raise StripeError(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed", saved=True
        )
    left: int = charge["amount"] - charge["amount_refunded"]
    if left <= 0:
        raise StripeError(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded", saved=True
        )
    amount: int = given.get("amount", left)
    if amount < 1:
        raise StripeError("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        currency = charge["currency"]
        raise StripeError(
            f"Refund amount ({shown(amount, currency)}) is greater than unrefunded amount on charge "
            f"({shown(left, currency)})",
            param="amount",
            saved=True,
        )
    return amount


def _is_charged_back(sandbox: Sandbox, charge: Object) -> bool:
    disputes = sandbox.store.newest_first("dispute", lambda d: bool(d["charge"] == charge["id"]))
    return any(not (d["status"] == "won" or d["status"].startswith("warning")) for d in disputes)


def _shape(sandbox: Sandbox, charge: Object, amount: int, given: Object) -> Object:
    is_card = charge["payment_method_details"]["type"] == "card"
    card = {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}
    bank = {"reference": None, "reference_status": "pending"}
    return {
        "id": new_id("re" if is_card else "pyr"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": sandbox.now(),
        "currency": charge["currency"],
        "destination_details": {"card": card, "type": "card"}
        if is_card
        else {"type": "us_bank_transfer", "us_bank_transfer": bank},
        "metadata": given.get("metadata") or {},
        "payment_intent": charge["payment_intent"],
        "reason": given.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "pending",
        "transfer_reversal": None,
    }


def _withdraw(sandbox: Sandbox, charge: Object, refund: Object) -> Object:
    is_card = charge["payment_method_details"]["type"] == "card"
    return balance.record(
        sandbox,
        refund,
        -refund["amount"],
        type="refund" if is_card else "payment_refund",
        category="refund",
        description="REFUND FOR CHARGE" + (f" ({charge['description']})" if charge["description"] else ""),
    )


def _take_back(sandbox: Sandbox, refund: Object, status: str, reason: str) -> Object:
    changes: Object = {"status": status, "failure_reason": reason}
    if refund["balance_transaction"] is not None:
        transaction = balance.record(
            sandbox,
            refund,
            refund["amount"],
            type="refund_failure",
            category="refund_failure",
            description="REFUND FAILURE",
        )
        changes["failure_balance_transaction"] = transaction["id"]
    charge = sandbox.get(refund["charge"], "charge")
    sandbox.store.put({**charge, "amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False})
    return _tell(sandbox, refund, **changes)


def _tell(sandbox: Sandbox, refund: Object, **changes: object) -> Object:
    """Change a refund and tell of it: one event of its own, and one of the older kind of its charge."""
    sandbox.changed("charge.refund.updated", refund, **changes)
    return sandbox.changed("refund.updated", refund, **changes)


def _in_state(sandbox: Sandbox, id: str, *statuses: str) -> Object:
    refund = sandbox.get(id, "refund")
    if refund["status"] not in statuses:
        raise StripeError(f"Refund {id} has a status of {refund['status']}, not {' or '.join(statuses)}.")
    return refund


def _update(sandbox: Sandbox, id: str, given: Object) -> Object:
    refund = sandbox.get(id, "refund")
    return _tell(sandbox, refund, **operations.changes(refund, given))


def _cancel_by_api(sandbox: Sandbox, id: str, _: Object) -> Object:
    refund = sandbox.get(id, "refund")
    raise StripeError(
        f"This refund has a status of {refund['status']}. Only refunds with a status of requires_action can be "
        "canceled through the API; cancel others in the dashboard.",
        saved=True,
    )


def _of_charge(sandbox: Sandbox, id: str, given: Object) -> Object:
    sandbox.get(id, "charge", param="charge")
    return lists.list_objects(sandbox, "refund", {**given, "charge": id}, f"/v1/charges/{id}/refunds", {})


def _succeed_by_time(sandbox: Sandbox, id: str) -> None:
    if sandbox.get(id, "refund")["status"] == "pending":
        succeed(sandbox, id)


def _fail_by_time(sandbox: Sandbox, id: str) -> None:
    if sandbox.get(id, "refund")["status"] == "succeeded":
        fail(sandbox, id)


LATER: later.Handlers = {"refund.succeed": _succeed_by_time, "refund.fail": _fail_by_time}

_PATH = "/refunds"
OPERATIONS = [
    operations.create(_PATH, params.RefundCreateParams, create),
    operations.list_of("refund", _PATH, params.RefundListParams),
    operations.retrieve("refund", _PATH, params.RefundRetrieveParams),
    operations.Operation("POST", f"{_PATH}/{{id}}", params.RefundUpdateParams, _update),
    operations.Operation("POST", f"{_PATH}/{{id}}/cancel", params.RefundCancelParams, _cancel_by_api),
    operations.Operation("GET", "/charges/{id}/refunds", params.ChargeListRefundsParams, _of_charge),
]

"""Payment intents and their charges: how a payment begins, succeeds, fails, or waits."""

from stripe import params

from stripe_sandbox import operations, payment_shapes
from stripe_sandbox.cards import TestCard
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public

AUTHENTICATION_FAILED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)


def new_intent(sandbox: Sandbox, amount: int, currency: str, customer: str | None, metadata: Object) -> Object:
    """A payment intent that waits for a payment method."""
    intent = payment_shapes.payment_intent(sandbox.now(), amount, currency, customer, metadata)
    sandbox.store.put(intent)
    sandbox.emit("payment_intent.created", intent)
    return intent


def succeed(sandbox: Sandbox, intent: Object, method: Object) -> Object:
    """The money is there."""
    charge = _charge(sandbox, intent, method)
    charge |= {
        "amount_captured": charge["amount"],
        "captured": True,
        "paid": True,
        "status": "succeeded",
        "outcome": _outcome("approved_by_network", "Payment complete.", "authorized"),
    }
    return _finish(
        sandbox,
        intent,
        charge,
        "succeeded",
        {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "last_payment_error": None,
            "next_action": None,
            "payment_method": method["id"],
            "processing": None,
        },
        "payment_intent.succeeded",
    )


def decline(sandbox: Sandbox, intent: Object, method: Object, card: TestCard) -> Object:
    """The bank said no; the intent waits for another payment method."""
    return fail(sandbox, intent, method, code=card.code, decline_code=card.decline_code, message=card.message)


def fail(sandbox: Sandbox, intent: Object, method: Object, *, code: str, decline_code: str, message: str) -> Object:
    """The payment did not come about."""
    charge = _charge(sandbox, intent, method)
    reason = decline_code or code
    charge |= {
        "status": "failed",
        "failure_code": code,
        "failure_message": message,
        "outcome": _outcome(
            "declined_by_network", "The bank did not complete this payment.", "issuer_declined", reason
        ),
    }
    error: Object = {"code": code, "message": message, "type": "card_error", "payment_method": public(method)}
    if decline_code:
        error["decline_code"] = decline_code
    return _finish(
        sandbox,
        intent,
        charge,
        "failed",
        {
            "status": "requires_payment_method",
            "last_payment_error": {**error, "charge": charge["id"]},
            "next_action": None,
            "payment_method": None,
            "processing": None,
        },
        "payment_intent.payment_failed",
    )


def ask(sandbox: Sandbox, intent: Object, method: Object, url: str) -> Object:
    """The bank wants the buyer to confirm at `url`."""
    return sandbox.changed(
        "payment_intent.requires_action",
        intent,
        status="requires_action",
        payment_method=method["id"],
        next_action={"redirect_to_url": {"return_url": None, "url": url}, "type": "redirect_to_url"},
    )


def wait(sandbox: Sandbox, intent: Object, method: Object) -> Object:
    """A delayed payment is under way; days later it succeeds or fails."""
    charge = _charge(sandbox, intent, method)
    return _finish(
        sandbox,
        intent,
        charge,
        "pending",
        {"status": "processing", "payment_method": method["id"], "processing": None},
        "payment_intent.processing",
    )


def _charge(sandbox: Sandbox, intent: Object, method: Object) -> Object:
    """The pending charge of a delayed payment, or a new one."""
    latest = intent["latest_charge"]
    pending = sandbox.store.get(latest, "charge") if latest else None
    if pending is not None and pending["status"] == "pending":
        return pending
    return payment_shapes.charge(sandbox.now(), intent, method)


def _finish(sandbox: Sandbox, intent: Object, charge: Object, end: str, changes: Object, event: str) -> Object:
    intent = {**intent, **changes, "latest_charge": charge["id"]}
    sandbox.store.put(charge)
    sandbox.store.put(intent)
    sandbox.emit(f"charge.{end}", charge)
    sandbox.emit(event, intent)
    return intent


def _outcome(network: str, seller: str, type: str, reason: str | None = None) -> Object:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network,
        "reason": reason,
        "risk_level": "normal",
        "risk_score": 17,
        "seller_message": seller,
        "type": type,
    }


OPERATIONS = [
    operations.list_of("payment_intent", "/payment_intents", params.PaymentIntentListParams),
    operations.retrieve("payment_intent", "/payment_intents", params.PaymentIntentRetrieveParams),
    operations.list_of("charge", "/charges", params.ChargeListParams),
    operations.retrieve("charge", "/charges", params.ChargeRetrieveParams),
]

"""How money moves for a payment intent: it is charged, held back, refused, asked for at the bank, or waited for.

`payment_intents` has the API around it, `checkout` the hosted page.
"""

from typing import Any

from stripe_sandbox import balance, later, payment_shapes
from stripe_sandbox.card_table import card_of
from stripe_sandbox.cards import AUTHENTICATION_REQUIRED, Decline, TestCard
from stripe_sandbox.errors import doc_url
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public

HOLD_SECONDS = 7 * 86_400
"""How long money stays held that nobody captures."""


def new_intent(
    sandbox: Sandbox, amount: int, currency: str, customer: str | None, metadata: Object, **settings: Any
) -> Object:
    """A payment intent that waits for a payment method; `settings` are keys of it that are not as usual."""
    intent = {**payment_shapes.payment_intent(sandbox.now(), amount, currency, customer, metadata), **settings}
    sandbox.store.put(intent)
    sandbox.emit("payment_intent.created", intent)
    return intent


def attempt(
    sandbox: Sandbox, intent: Object, method: Object, *, off_session: bool, next_action: Object | None = None
) -> Object:
    """Pay with `method`, as its card behaves. Returns the intent, whose status says how it went.

    `succeeded` or `requires_capture`; `requires_payment_method` with its `last_payment_error`; or
    `requires_action` with `next_action`, when the bank wants the buyer to confirm. Off session nobody can.
    """
    if card_of(method).asks(off_session=off_session, set_up=bool(method.get("_set_up"))):
        if off_session:
            return decline(sandbox, intent, method, AUTHENTICATION_REQUIRED)
        return sandbox.changed(
            "payment_intent.requires_action",
            intent,
            status="requires_action",
            payment_method=method["id"],
            next_action=next_action,
        )
    return take(sandbox, intent, method)


def next_action(sandbox: Sandbox, id: str, return_url: str | None) -> Object:
    """Where the customer of an intent confirms to the bank; without a way back it is for Stripe's own script."""
    url = f"{sandbox.url}/sandbox/authenticate/{id}"
    if return_url is None:
        return {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": url, "type": "three_d_secure_redirect"}}
    return {"redirect_to_url": {"return_url": return_url, "url": url}, "type": "redirect_to_url"}


def take(sandbox: Sandbox, intent: Object, method: Object, *, authenticated: bool = False) -> Object:
    """Pay with `method`, which needs no 3-D Secure, or has been `authenticated`. Returns the intent."""
    refusal = card_of(method).decline
    if refusal is not None:
        return decline(sandbox, intent, method, refusal)
    return succeed(sandbox, intent, method, authenticated=authenticated)


def succeed(sandbox: Sandbox, intent: Object, method: Object, *, authenticated: bool = False) -> Object:
    """The money is there, or held until it is captured when the intent asks for that."""
    card = card_of(method)
    charge = _charge(sandbox, intent, method, authenticated=authenticated)
    charge |= {"paid": True, "status": "succeeded", "outcome": _approved(card)}
    if method["type"] == "card":
        charge["payment_method_details"]["card"]["amount_authorized"] = charge["amount"]
    changes = {"last_payment_error": None, "next_action": None, "payment_method": method["id"], "processing": None}
    if intent["capture_method"] == "manual":
        charge["payment_method_details"]["card"]["capture_before"] = charge["created"] + HOLD_SECONDS
        later.schedule(sandbox, "payment_intent.expire", intent["id"], HOLD_SECONDS)
        changes |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        return _finish(sandbox, intent, charge, "succeeded", changes, "payment_intent.amount_capturable_updated")
    charge |= {"amount_captured": charge["amount"], "captured": True}
    if intent["capture_method"] == "automatic":
        charge["balance_transaction"] = balance.take_in(sandbox, charge, available=card.available)["id"]
    else:
        later.schedule(sandbox, "charge.settle", charge["id"])
    follow_up(sandbox, charge, card)
    changes |= {"status": "succeeded", "amount_received": intent["amount"]}
    return _finish(sandbox, intent, charge, "succeeded", changes, "payment_intent.succeeded")


def follow_up(sandbox: Sandbox, charge: Object, card: TestCard) -> None:
    """Have happen what follows a captured payment with some cards."""
    if card.warned:
        later.schedule(sandbox, "fraud_warning.issue", charge["id"])
    if card.disputes:
        later.schedule(sandbox, "dispute.open", charge["id"])


def decline(sandbox: Sandbox, intent: Object, method: Object, refusal: Decline) -> Object:
    """The bank said no; the intent waits for another payment method."""
    charge = _charge(sandbox, intent, method)
    charge |= {"failure_code": refusal.code, "failure_message": refusal.message, "outcome": _declined(refusal)}
    return _fail(sandbox, intent, charge, {**card_error(refusal), "payment_method": public(method)})


def bounce(sandbox: Sandbox, intent: Object, method: Object) -> Object:
    """A delayed payment did not arrive."""
    code, message = "payment_method_provider_decline", "The customer's bank account could not be debited."
    charge = _charge(sandbox, intent, method)
    charge |= {"failure_code": code, "failure_message": message}
    error = {"code": code, "doc_url": doc_url(code), "message": message, "type": "invalid_request_error"}
    return _fail(sandbox, intent, charge, {**error, "payment_method": public(method)})


def not_authenticated(sandbox: Sandbox, intent: Object, method: Object) -> Object:
    """The buyer did not pass 3-D Secure. Nothing was charged; the intent waits for another payment method."""
    code = "payment_intent_authentication_failure"
    intent = {
        **intent,
        "status": "requires_payment_method",
        "last_payment_error": {
            "code": code,
            "doc_url": doc_url(code),
            "message": "The provided PaymentMethod has failed authentication. You can provide payment_method_data or "
            "a new PaymentMethod to attempt to fulfill this PaymentIntent again.",
            "payment_method": public(method),
            "type": "invalid_request_error",
        },
        "next_action": None,
        "payment_method": None,
    }
    sandbox.store.put(intent)
    sandbox.emit("payment_intent.payment_failed", intent)
    return intent


def wait(sandbox: Sandbox, intent: Object, method: Object) -> Object:
    """A delayed payment is under way; days later it succeeds or bounces."""
    charge = _charge(sandbox, intent, method)
    return _finish(
        sandbox,
        intent,
        charge,
        "pending",
        {"status": "processing", "payment_method": method["id"], "processing": None},
        "payment_intent.processing",
    )


def card_error(refusal: Decline) -> Object:
    """The error of a declined card, as an API answer and `last_payment_error` say it."""
    error = {
        "code": refusal.code,
        "decline_code": refusal.decline_code,
        "doc_url": doc_url(refusal.code),
        "message": refusal.message,
        "type": "card_error",
    }
    if refusal.advice:
        error["advice_code"] = refusal.advice
    if refusal.network_code:
        error["network_decline_code"] = refusal.network_code
    return error


def settle(sandbox: Sandbox, charge_id: str) -> None:
    """The balance transaction of a charge follows a moment after it, as with Stripe's asynchronous capture."""
    charge = sandbox.get(charge_id, "charge")
    available = card_of(sandbox.get(charge["payment_method"], "payment_method")).available
    transaction = balance.take_in(sandbox, charge, available=available)
    sandbox.changed("charge.updated", charge, balance_transaction=transaction["id"])


def _charge(sandbox: Sandbox, intent: Object, method: Object, *, authenticated: bool = False) -> Object:
    """The pending charge of a delayed payment, or a new one."""
    latest = intent["latest_charge"]
    pending = sandbox.store.get(latest, "charge") if latest else None
    if pending is not None and pending["status"] == "pending":
        return pending
    return payment_shapes.charge(sandbox.now(), intent, method, authenticated=authenticated)


def _fail(sandbox: Sandbox, intent: Object, charge: Object, error: Object) -> Object:
    return _finish(
        sandbox,
        intent,
        {**charge, "status": "failed"},
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


def _finish(sandbox: Sandbox, intent: Object, charge: Object, end: str, changes: Object, event: str) -> Object:
    intent = {**intent, **changes, "latest_charge": charge["id"]}
    sandbox.store.put(charge)
    sandbox.store.put(intent)
    sandbox.emit(f"charge.{end}", charge)
    sandbox.emit(event, intent)
    return intent


def _approved(card: TestCard) -> Object:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": card.risk,
        "risk_score": 70 if card.risk == "elevated" else 17,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }


def _declined(refusal: Decline) -> Object:
    returned = f"The bank returned the decline code `{refusal.decline_code}`."
    if refusal.decline_code == "generic_decline":
        returned = "The bank did not return any further details with this decline."
    return {
        "advice_code": refusal.advice,
        "network_advice_code": None,
        "network_decline_code": refusal.network_code,
        "network_status": "not_sent_to_network" if refusal.blocked else "declined_by_network",
        "reason": "highest_risk_level" if refusal.blocked else refusal.decline_code,
        "risk_level": "highest" if refusal.blocked else "normal",
        "risk_score": 92 if refusal.blocked else 17,
        "seller_message": "Stripe blocked this payment as too risky." if refusal.blocked else returned,
        "type": "blocked" if refusal.blocked else "issuer_declined",
    }


LATER: later.Handlers = {"charge.settle": settle}

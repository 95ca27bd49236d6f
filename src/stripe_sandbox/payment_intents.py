"""The API of payment intents: made, confirmed, captured, changed, cancelled. `payments` moves the money."""

from stripe import params

from stripe_sandbox import balance, intent_settings, later, operations, payment_methods, payments
from stripe_sandbox.billing import collection
from stripe_sandbox.card_table import card_of
from stripe_sandbox.cards import Decline
from stripe_sandbox.errors import StripeError
from stripe_sandbox.money import MINIMUM, shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public

_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
_ALWAYS = frozenset({"metadata", "description", "receipt_email", "transfer_group"})
"""What can be changed whatever the status."""

_TOO_SMALL = (
    "The amount must be greater than or equal to the minimum charge amount allowed for your account and the currency "
    "set (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).  If you want to save a Payment "
    "Method for future use without an immediate payment, use a Setup Intent instead: "
    "https://docs.stripe.com/payments/setup-intents"
)
NO_RETURN_URL = (
    "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these "
    "payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't want "
    "to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and "
    "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
)
_NO_METHOD = (
    "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
    "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment "
    "method or ConfirmationToken."
)
_OFF_SESSION_SETUP = (
    "You cannot confirm with `off_session=true` when `setup_future_usage` is also set on the PaymentIntent. The "
    "customer needs to be on-session to perform the steps which may be required to set up the PaymentMethod for "
    "future usage. Please confirm this PaymentIntent with your customer on-session."
)
_NOT_HANDLED = Decline(
    "authentication_not_handled",
    code="authentication_required",
    message="This payment required an authentication action to complete, but `error_on_requires_action` was set.",
)


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new intent, confirmed at once when that is asked for. Raises Stripe's error."""
    for name in ("amount", "currency"):
        if name not in given:
            raise StripeError(f"Missing required param: {name}.", code="parameter_missing", param=name)
    currency = given["currency"].lower()
    _check_amount(given["amount"], currency)
    customer = given.get("customer")
    if customer is not None:
        sandbox.get(customer, "customer", param="customer", status=400)
    intent = payments.new_intent(
        sandbox,
        given["amount"],
        currency,
        customer,
        given.get("metadata") or {},
        **intent_settings.of(given),
    )
    if "payment_method" in given:
        intent = _choose(sandbox, intent, given["payment_method"])
    return confirm(sandbox, intent, given) if given.get("confirm") else intent


def confirm(sandbox: Sandbox, intent: Object, given: Object) -> Object:
    """Pay. Raises Stripe's card error, with the intent in it, when the card is declined."""
    if intent["status"] not in _OPEN:
        raise _unexpected(intent, _not_confirmable(intent["status"]))
    if "payment_method_data" in given or "confirmation_token" in given:
        raise StripeError("The sandbox pays with a payment method: give `payment_method`.", param="payment_method")
    kept = ("capture_method", "receipt_email", "setup_future_usage", "shipping")
    intent = intent | intent_settings.of({name: given[name] for name in kept if name in given}, intent)
    if "payment_method" in given:
        intent = _choose(sandbox, intent, given["payment_method"])
    if intent["payment_method"] is None:
        raise _unexpected(intent, _NO_METHOD)
    off_session = given.get("off_session", False) is not False
    if off_session and intent["setup_future_usage"]:
        raise StripeError(_OFF_SESSION_SETUP, saved=True, payment_intent=public(intent))
    return_url = given.get("return_url")
    if not off_session and return_url is None and needs_return_url(intent):
        raise StripeError(NO_RETURN_URL, saved=True, payment_intent=public(intent))
    method = sandbox.get(intent["payment_method"], "payment_method")
    payment_methods.require_usable(method, intent["customer"])
    card = card_of(method)
    asks = card.asks(off_session=off_session, set_up=bool(method.get("_set_up")))
    if asks and not off_session and given.get("error_on_requires_action"):
        intent = payments.decline(sandbox, intent, method, _NOT_HANDLED)
    else:
        action = payments.next_action(sandbox, intent["id"], return_url)
        intent = payments.attempt(sandbox, intent, method, off_session=off_session, next_action=action)
    if intent["status"] == "requires_payment_method":
        error = {name: value for name, value in intent["last_payment_error"].items() if name != "doc_url"}
        raise StripeError(status=402, saved=True, payment_intent=public(intent), **error)
    if intent["status"] != "requires_action":
        _keep(sandbox, intent, method)
    return intent


def authenticate(sandbox: Sandbox, intent: Object, *, confirmed: bool) -> Object:
    """The buyer answers the bank's 3-D Secure page. Returns the intent."""
    method = sandbox.get(intent["payment_method"], "payment_method")
    if not confirmed:
        return payments.not_authenticated(sandbox, intent, method)
    intent = payments.take(sandbox, intent, method, authenticated=True)
    if intent["status"] != "requires_payment_method":
        _keep(sandbox, intent, method)
    return intent


def capture(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Take the money that is held, or a part of it; the rest is let go."""
    intent = sandbox.get(id, "payment_intent", param="intent")
    if intent["status"] != "requires_capture":
        raise _unexpected(
            intent,
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. Only a "
            "PaymentIntent with one of the following statuses may be captured: requires_capture.",
        )
    held: int = intent["amount_capturable"]
    amount: int = given.get("amount_to_capture", held)
    if amount < 1:
        raise StripeError("Invalid positive integer", code="parameter_invalid_integer", param="amount_to_capture")
    if amount > held:
        raise StripeError(
            f"The remaining amount that can be captured is {shown(held, intent['currency'])}, less than "
            f"{shown(amount, intent['currency'])}.",
            code="amount_too_large",
            param="amount_to_capture",
            saved=True,
        )
    charge = sandbox.get(intent["latest_charge"], "charge")
    card = card_of(sandbox.get(charge["payment_method"], "payment_method"))
    captured = {"amount_captured": amount, "captured": True}
    transaction = balance.take_in(sandbox, {**charge, **captured}, available=card.available)
    captured |= {"amount_refunded": held - amount, "balance_transaction": transaction["id"]}
    charge = sandbox.changed("charge.captured", charge, **captured)
    payments.follow_up(sandbox, charge, card)
    intent |= operations.changes(intent, {"metadata": given.get("metadata")})
    intent |= {"amount_capturable": 0, "amount_received": amount, "status": "succeeded"}
    sandbox.store.put(intent)
    sandbox.emit("payment_intent.succeeded", intent)
    return intent


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change an intent that has not been paid; of others only what does not matter to the payment."""
    intent = sandbox.get(id, "payment_intent", param="intent")
    for name in given:
        if name not in _ALWAYS and intent["status"] not in _OPEN:
            raise _unexpected(
                intent,
                f"This PaymentIntent's {name} could not be updated because it has a status of {intent['status']}. You "
                f"may only update the {name} of a PaymentIntent with one of the following statuses: "
                f"{', '.join(_OPEN)}.",
            )
    if "amount" in given:
        _check_amount(given["amount"], given.get("currency") or intent["currency"])
    if "customer" in given:
        sandbox.get(given["customer"], "customer", param="customer", status=400)
    if "currency" in given:
        given = {**given, "currency": given["currency"].lower()}
    changes = operations.changes(intent, {**given, **intent_settings.of(given, intent)})
    method = changes.pop("payment_method", None)
    intent = {**intent, **changes}
    sandbox.store.put(intent)
    return _choose(sandbox, intent, method) if method else intent


def cancel(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Give an intent up. What it holds is let go."""
    intent = sandbox.get(id, "payment_intent", param="intent")
    if intent["status"] not in _CANCELABLE:
        raise _unexpected(
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a "
            f"PaymentIntent with one of the following statuses may be canceled: {', '.join(_CANCELABLE)}.",
        )
    return _cancel(sandbox, intent, given.get("cancellation_reason"), "charge.refunded")


def needs_return_url(intent: Object) -> bool:
    """Whether a payment or setup intent takes methods that send the customer away and back."""
    automatic = intent["automatic_payment_methods"]
    return bool(automatic and automatic["enabled"] and automatic.get("allow_redirects", "always") == "always")


def _choose(sandbox: Sandbox, intent: Object, method_id: str) -> Object:
    method = payment_methods.find(sandbox, method_id)
    payment_methods.require_usable(method, intent["customer"])
    intent = {**intent, "payment_method": method["id"], "status": "requires_confirmation", "next_action": None}
    sandbox.store.put(intent)
    return intent


def _keep(sandbox: Sandbox, intent: Object, method: Object) -> None:
    """After a payment a method is saved for its customer when that was asked for; else it is used up."""
    usage = intent["setup_future_usage"]
    if usage is not None and intent["customer"] is not None:
        payment_methods.attach(sandbox, method, intent["customer"], set_up=usage == "off_session")
    else:
        payment_methods.use_up(sandbox, method)


def _cancel(sandbox: Sandbox, intent: Object, reason: str | None, event: str) -> Object:
    if intent["status"] == "requires_capture":
        charge = sandbox.get(intent["latest_charge"], "charge")
        sandbox.changed(event, charge, amount_refunded=charge["amount"], refunded=True)
    intent = {
        **intent,
        "amount_capturable": 0,
        "canceled_at": sandbox.now(),
        "cancellation_reason": reason,
        "next_action": None,
        "status": "canceled",
    }
    sandbox.store.put(intent)
    sandbox.emit("payment_intent.canceled", intent)
    return intent


def _expire(sandbox: Sandbox, id: str) -> None:
    """What nobody captured in time is let go."""
    intent = sandbox.get(id, "payment_intent")
    if intent["status"] == "requires_capture":
        _cancel(sandbox, intent, "automatic", "charge.expired")


def _check_amount(amount: int, currency: str) -> None:
    if amount < 1:
        raise StripeError(_TOO_SMALL, code="parameter_invalid_integer", param="amount")
    if amount < MINIMUM and currency == "usd":
        raise StripeError(
            f"Amount must be at least {shown(MINIMUM, currency)} {currency}",
            code="amount_too_small",
            param="amount",
            saved=True,
        )


def _not_confirmable(status: str) -> str:
    if status == "succeeded":
        return (
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
        )
    return (
        f"You cannot confirm this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one of "
        "the following statuses may be confirmed: requires_confirmation, requires_action."
    )


def _unexpected(intent: Object, message: str) -> StripeError:
    return StripeError(message, code="payment_intent_unexpected_state", saved=True, payment_intent=public(intent))


def _find(sandbox: Sandbox, id: str) -> Object:
    return sandbox.get(id, "payment_intent", param="intent")


def _confirm(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Confirm an intent, and have the invoice that it is for follow, also when the card is declined."""
    before = _find(sandbox, id)
    try:
        return confirm(sandbox, before, given)
    finally:
        after = _find(sandbox, id)
        if (after["status"], after["latest_charge"]) != (before["status"], before["latest_charge"]):
            collection.follow(sandbox, after)


LATER: later.Handlers = {"payment_intent.expire": _expire}

_PATH = "/payment_intents"
_ONE = f"{_PATH}/{{id}}"
OPERATIONS = [
    operations.create(_PATH, params.PaymentIntentCreateParams, create),
    operations.list_of("payment_intent", _PATH, params.PaymentIntentListParams),
    operations.Operation("GET", _ONE, params.PaymentIntentRetrieveParams, lambda s, id, _: _find(s, id)),
    operations.Operation("POST", _ONE, params.PaymentIntentUpdateParams, update),
    operations.Operation(
        "POST",
        f"{_ONE}/confirm",
        params.PaymentIntentConfirmParams,
        _confirm,
    ),
    operations.Operation("POST", f"{_ONE}/capture", params.PaymentIntentCaptureParams, capture),
    operations.Operation("POST", f"{_ONE}/cancel", params.PaymentIntentCancelParams, cancel),
]

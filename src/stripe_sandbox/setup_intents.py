"""Setup intents: a card saved for later, without a payment."""

from stripe import params

from stripe_sandbox import operations, payment_intents, payment_methods, payments
from stripe_sandbox.card_table import card_of
from stripe_sandbox.errors import StripeError, doc_url
from stripe_sandbox.ids import client_secret, new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object, public

_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new intent, confirmed at once when that is asked for. Raises Stripe's error."""
    customer = given.get("customer")
    if customer is not None:
        sandbox.get(customer, "customer", param="customer", status=400)
    intent = _shape(sandbox, given)
    sandbox.store.put(intent)
    sandbox.emit("setup_intent.created", intent)
    if "payment_method" in given:
        intent = choose(sandbox, intent, given["payment_method"])
    return confirm(sandbox, intent, given) if given.get("confirm") else intent


def confirm(sandbox: Sandbox, intent: Object, given: Object) -> Object:
    """Save the card. Raises Stripe's card error, with the intent in it, when the card is declined."""
    _require_open(intent, "confirm")
    if "payment_method_data" in given or "confirmation_token" in given:
        raise StripeError("The sandbox saves a payment method: give `payment_method`.", param="payment_method")
    if "payment_method" in given:
        intent = choose(sandbox, intent, given["payment_method"])
    if intent["payment_method"] is None:
        raise _unexpected(
            intent,
            "You cannot confirm this SetupIntent because it's missing a payment method. You can either update the "
            "SetupIntent with a payment method and then confirm it again, or confirm it again directly with a payment "
            "method or ConfirmationToken.",
        )
    return_url = given.get("return_url")
    if return_url is None and payment_intents.needs_return_url(intent):
        message = payment_intents.NO_RETURN_URL.replace("This PaymentIntent", "This SetupIntent")
        raise StripeError(message, saved=True, setup_intent=public(intent))
    intent = attempt(sandbox, intent, payments.next_action(sandbox, intent["id"], return_url))
    if intent["status"] == "requires_payment_method":
        error = {name: value for name, value in intent["last_setup_error"].items() if name != "doc_url"}
        raise StripeError(status=402, saved=True, setup_intent=public(intent), **error)
    return intent


def attempt(sandbox: Sandbox, intent: Object, next_action: Object) -> Object:
    """Save the chosen card, as it behaves. Returns the intent, whose status says how it went.

    `succeeded`; `requires_payment_method` with its `last_setup_error`; or `requires_action` with `next_action`.
    """
    method = sandbox.get(intent["payment_method"], "payment_method")
    card = card_of(method)
    intent = {**intent, "latest_attempt": new_id("setatt")}
    if card.decline is not None and not card.attaches:
        return _fail(sandbox, intent, {**payments.card_error(card.decline), "payment_method": public(method)})
    if card.asks_on_setup:
        return sandbox.changed(
            "setup_intent.requires_action", intent, status="requires_action", next_action=next_action
        )
    return _succeed(sandbox, intent, method)


def authenticate(sandbox: Sandbox, intent: Object, *, confirmed: bool) -> Object:
    """The customer answers the bank's 3-D Secure page. Returns the intent."""
    method = sandbox.get(intent["payment_method"], "payment_method")
    if confirmed:
        return _succeed(sandbox, intent, method)
    code = "setup_intent_authentication_failure"
    message = (
        "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new "
        "PaymentMethod to attempt to fulfill this SetupIntent again."
    )
    error = {"code": code, "doc_url": doc_url(code), "message": message, "type": "invalid_request_error"}
    return _fail(sandbox, intent, {**error, "payment_method": public(method)})


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change an intent that is not done with."""
    intent = _find(sandbox, id)
    _require_open(intent, "update")
    if "customer" in given:
        sandbox.get(given["customer"], "customer", param="customer", status=400)
    changes = operations.changes(intent, given)
    method = changes.pop("payment_method", None)
    intent = {**intent, **changes}
    sandbox.store.put(intent)
    return choose(sandbox, intent, method) if method else intent


def cancel(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Give an intent up."""
    intent = _find(sandbox, id)
    _require_open(intent, "cancel")
    intent |= {
        "cancellation_reason": given.get("cancellation_reason"),
        "next_action": None,
        "status": "canceled",
    }
    sandbox.store.put(intent)
    sandbox.emit("setup_intent.canceled", intent)
    return intent


def _shape(sandbox: Sandbox, given: Object) -> Object:
    id = new_id("seti")
    return {
        "id": id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": given.get(
            "automatic_payment_methods", {"allow_redirects": "always", "enabled": True}
        ),
        "cancellation_reason": None,
        "client_secret": client_secret(id),
        "created": sandbox.now(),
        "customer": given.get("customer"),
        "customer_account": None,
        "description": given.get("description"),
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": given.get("metadata") or {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": given.get("usage", "off_session"),
    }


def choose(sandbox: Sandbox, intent: Object, method_id: str) -> Object:
    """Have the intent save that payment method. Raises Stripe's error for one that it cannot."""
    method = payment_methods.find(sandbox, method_id)
    payment_methods.require_usable(method, intent["customer"])
    intent = {**intent, "payment_method": method["id"], "status": "requires_confirmation", "next_action": None}
    sandbox.store.put(intent)
    return intent


def _succeed(sandbox: Sandbox, intent: Object, method: Object) -> Object:
    is_set_up = intent["usage"] == "off_session"
    if intent["customer"] is not None:
        payment_methods.attach(sandbox, method, intent["customer"], set_up=is_set_up)
    else:
        sandbox.store.put({**method, "_set_up": is_set_up})
    intent = {**intent, "last_setup_error": None, "next_action": None, "status": "succeeded"}
    sandbox.store.put(intent)
    sandbox.emit("setup_intent.succeeded", intent)
    return intent


def _fail(sandbox: Sandbox, intent: Object, error: Object) -> Object:
    intent = {
        **intent,
        "last_setup_error": error,
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    sandbox.store.put(intent)
    sandbox.emit("setup_intent.setup_failed", intent)
    return intent


def _require_open(intent: Object, action: str) -> None:
    if intent["status"] not in _OPEN:
        raise _unexpected(
            intent,
            f"You cannot {action} this SetupIntent because it has a status of {intent['status']}. Only a SetupIntent "
            f"with one of the following statuses is open to that: {', '.join(_OPEN)}.",
        )


def _unexpected(intent: Object, message: str) -> StripeError:
    return StripeError(message, code="setup_intent_unexpected_state", saved=True, setup_intent=public(intent))


def _find(sandbox: Sandbox, id: str) -> Object:
    return sandbox.get(id, "setup_intent", param="intent")


_PATH = "/setup_intents"
_ONE = f"{_PATH}/{{id}}"
OPERATIONS = [
    operations.create(_PATH, params.SetupIntentCreateParams, create),
    operations.list_of("setup_intent", _PATH, params.SetupIntentListParams, {"attach_to_self": lambda _, __: True}),
    operations.Operation("GET", _ONE, params.SetupIntentRetrieveParams, lambda s, id, _: _find(s, id)),
    operations.Operation("POST", _ONE, params.SetupIntentUpdateParams, update),
    operations.Operation(
        "POST",
        f"{_ONE}/confirm",
        params.SetupIntentConfirmParams,
        lambda s, id, given: confirm(s, _find(s, id), given),
    ),
    operations.Operation("POST", f"{_ONE}/cancel", params.SetupIntentCancelParams, cancel),
]

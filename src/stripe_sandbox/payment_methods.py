"""Payment methods: made from a test card, attached to a customer and detached, listed, changed."""

from datetime import UTC, datetime

from stripe import params

from stripe_sandbox import cards, lists, operations, payment_shapes
from stripe_sandbox.card_table import CARDS, by_token, card_of
from stripe_sandbox.cards import BadField, Decline, TestCard
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.payments import card_error
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_LIVE_CARD = Decline(
    "test_mode_live_card",
    message="Your card was declined. Your request was in test mode, but used a non test (live) card. For a list of "
    "valid test cards, visit: https://stripe.com/docs/testing.",
)
_WRONG = {
    "incorrect_number": ("number", "Your card number is incorrect."),
    "invalid_expiry_month": ("exp_month", "Your card's expiration month is invalid."),
    "invalid_expiry_year": ("exp_year", "Your card's expiration year is invalid."),
    "invalid_cvc": ("cvc", "Your card's security code is invalid."),
}
_SPENT = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a "
    "connected account without Customer attachment, or was detached from a Customer. It may not be used again. To use "
    "a PaymentMethod multiple times, you must attach it to a Customer first."
)


def make(
    sandbox: Sandbox, card: TestCard, month: int, year: int, *, cvc: bool, allow_redisplay: str = "unspecified"
) -> Object:
    """A payment method of that card, not kept yet."""
    method = payment_shapes.payment_method(
        sandbox.now(),
        "card",
        payment_shapes.billing_details(None, None),
        cards.on_file(card, month, year, cvc=cvc),
        allow_redisplay=allow_redisplay,
    )
    return {**method, "_number": card.number}


def from_form(sandbox: Sandbox, number: str, expiry: str, cvc: str) -> Object:
    """What was typed at the hosted page, as a payment method that is not kept yet. Raises BadField."""
    digits = cards.digits_of(number)
    month, year = cards.read_expiry(expiry, sandbox.now())
    card = CARDS.get(digits)
    cards.check_cvc(card or cards.TestCard(digits), cvc)
    if card is None:
        raise BadField(
            "card_number", "card_declined", "This is not a test card. Use one of Stripe's, like 4242 4242 4242 4242."
        )
    return make(sandbox, card, month, year, cvc=True, allow_redisplay="limited")


def find(sandbox: Sandbox, id: str, *, status: int = 400) -> Object:
    """The payment method of that id; a name like `pm_card_visa` makes a new one. Raises Stripe's error."""
    card = by_token(id)
    if card is not None:
        method = _from_token(sandbox, card)
        sandbox.store.put(method)
        return method
    found = sandbox.store.get(id, "payment_method")
    if found is None:
        raise missing("PaymentMethod", id, param="payment_method", status=status)
    return found


def require_usable(method: Object, customer: str | None) -> None:
    """Raises Stripe's error for a method that cannot pay for `customer`: another's, or one that was used up."""
    owner = method["customer"]
    if owner is not None and owner != customer:
        raise StripeError(
            f"The payment method supplied ({method['id']}) belongs to the Customer {owner}. Please include the "
            "Customer in the `customer` parameter on the PaymentIntent.",
            param="payment_method",
        )
    if method.get("_spent"):
        raise StripeError(_SPENT, param="payment_method")


def attach(sandbox: Sandbox, method: Object, customer: str, *, set_up: bool = False) -> Object:
    """Save it for a customer; `set_up` when it may be charged without them. Raises Stripe's error."""
    if method["customer"] == customer and bool(method.get("_set_up")) >= set_up:
        return method
    if method["customer"] not in (None, customer):
        raise StripeError("The payment method you provided has already been attached to a customer.", saved=True)
    if method.get("_spent"):
        raise StripeError(_SPENT, saved=True)
    card = card_of(method)
    if card.decline is not None and not card.attaches:
        raise StripeError(status=402, param="", saved=True, **card_error(card.decline))
    attached = {**method, "customer": customer, "_set_up": set_up or bool(method.get("_set_up"))}
    sandbox.store.put(attached)
    if method["customer"] is None:
        sandbox.emit("payment_method.attached", attached, {"customer": None})
    return attached


def detach(sandbox: Sandbox, id: str) -> Object:
    """Take it from its customer, for good, also as the one that invoices are paid with."""
    method = find(sandbox, id, status=404)
    owner = method["customer"]
    if owner is None:
        raise StripeError(
            "The payment method you provided is not attached to a customer so detachment is impossible.", saved=True
        )
    customer = sandbox.store.get(owner, "customer")
    if customer is not None and customer["invoice_settings"]["default_payment_method"] == id:
        settings = {**customer["invoice_settings"], "default_payment_method": None}
        sandbox.changed("customer.updated", customer, invoice_settings=settings)
    return sandbox.changed("payment_method.detached", {**method, "_spent": True}, customer=None)


def use_up(sandbox: Sandbox, method: Object) -> None:
    """A method that paid without belonging to a customer cannot be used again."""
    if method["customer"] is None:
        sandbox.store.put({**method, "_spent": True})


def _create(sandbox: Sandbox, given: Object) -> Object:
    if given.get("type") != "card":
        raise StripeError(
            "The sandbox makes payment methods of type card; a bank transfer is made at its checkout page.",
            param="type",
        )
    method = _from_parameters(sandbox, given.get("card") or {})
    method |= {
        "allow_redisplay": given.get("allow_redisplay", "unspecified"),
        "billing_details": _billing(method["billing_details"], given.get("billing_details") or {}),
        "metadata": given.get("metadata") or {},
    }
    sandbox.store.put(method)
    return method


def _from_parameters(sandbox: Sandbox, given: Object) -> Object:
    if "token" in given:
        card = by_token(given["token"])
        if card is None:
            raise missing("token", given["token"], param="card[token]", status=400)
        return _from_token(sandbox, card)
    for name in ("number", "exp_month", "exp_year"):
        if name not in given:
            raise StripeError(
                f"Missing required param: card[{name}].", code="parameter_missing", param=f"card[{name}]"
            )
    month, year = given["exp_month"], given["exp_year"]
    year += 2000 if year < 100 else 0
    try:
        digits = cards.digits_of(given["number"])
        if not 1 <= month <= 12:
            raise BadField("exp_month", "invalid_expiry_month", "")
        if cards.is_past(month, year, sandbox.now()):
            raise BadField("exp_year", "invalid_expiry_year", "")
        card = CARDS.get(digits)
        if card is None:
            raise StripeError(status=402, saved=True, **card_error(_LIVE_CARD))
        if "cvc" in given:
            cards.check_cvc(card, given["cvc"])
    except BadField as wrong:
        param, message = _WRONG[wrong.code]
        raise StripeError(message, status=402, type="card_error", code=wrong.code, param=param, saved=True) from wrong
    return make(sandbox, card, month, year, cvc="cvc" in given)


def _from_token(sandbox: Sandbox, card: TestCard) -> Object:
    """Test tokens expire in a year, as Stripe's do."""
    today = datetime.fromtimestamp(sandbox.now(), UTC)
    return make(sandbox, card, today.month, today.year + 1, cvc=True)


def _attach(sandbox: Sandbox, id: str, given: Object) -> Object:
    method = find(sandbox, id, status=404)
    if "customer" not in given:
        raise StripeError("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = sandbox.get(given["customer"], "customer", param="customer", status=400)
    return attach(sandbox, method, customer["id"])


def _update(sandbox: Sandbox, id: str, given: Object) -> Object:
    method = find(sandbox, id, status=404)
    if method["customer"] is None:
        raise StripeError("You must save this PaymentMethod to a customer before you can update it.", saved=True)
    changes = operations.changes(method, given)
    if "billing_details" in given:
        changes["billing_details"] = _billing(method["billing_details"], given["billing_details"])
    if "card" in given:
        dates = {name: value for name, value in given["card"].items() if name in ("exp_month", "exp_year")}
        changes["card"] = {**method["card"], **dates}
    return sandbox.changed("payment_method.updated", method, **changes)


def _billing(details: Object, given: Object) -> Object:
    """`details` with what is given; an empty value takes a detail out."""
    merged = {**details, **{name: value or None for name, value in given.items() if name != "address"}}
    merged["address"] = {**details["address"], **{k: v or None for k, v in (given.get("address") or {}).items()}}
    return merged


def _list(sandbox: Sandbox, _: str, given: Object) -> Object:
    if "customer" in given:
        sandbox.get(given["customer"], "customer", param="customer", status=400)
    return lists.list_objects(sandbox, "payment_method", given, f"/v1{_PATH}", {})


def _list_of_customer(sandbox: Sandbox, id: str, given: Object) -> Object:
    sandbox.get(id, "customer", param="customer")
    url = f"/v1/customers/{id}/payment_methods"
    return lists.list_objects(sandbox, "payment_method", {**given, "customer": id}, url, {})


def _of_customer(sandbox: Sandbox, id: str, given: Object) -> Object:
    method = sandbox.store.get(id, "payment_method")
    if method is None or method["customer"] != given["customer"]:
        raise missing("PaymentMethod", id, param="payment_method")
    return method


_PATH = "/payment_methods"
_ONE = f"{_PATH}/{{id}}"
OPERATIONS = [
    operations.create(_PATH, params.PaymentMethodCreateParams, _create),
    operations.Operation("GET", _PATH, params.PaymentMethodListParams, _list),
    operations.Operation("GET", _ONE, params.PaymentMethodRetrieveParams, lambda s, id, _: find(s, id, status=404)),
    operations.Operation("POST", _ONE, params.PaymentMethodUpdateParams, _update),
    operations.Operation("POST", f"{_ONE}/attach", params.PaymentMethodAttachParams, _attach),
    operations.Operation("POST", f"{_ONE}/detach", params.PaymentMethodDetachParams, lambda s, id, _: detach(s, id)),
    operations.Operation(
        "GET", "/customers/{id}/payment_methods", params.CustomerListPaymentMethodsParams, _list_of_customer
    ),
    operations.Operation(
        "GET",
        "/customers/{customer}/payment_methods/{id}",
        params.CustomerRetrievePaymentMethodParams,
        _of_customer,
    ),
]

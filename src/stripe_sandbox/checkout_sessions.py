"""Checkout sessions in the API: created and changed by the seller, expired by either or by time."""

from stripe import params

from stripe_sandbox import (
    checkout_lines,
    checkout_order,
    checkout_recovery,
    lists,
    operations,
    setup_intents,
    shapes,
    tax_rates,
)
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_NOT_IN_SETUP = ("line_items", "discounts", "allow_promotion_codes", "automatic_tax")


def create(sandbox: Sandbox, given: Object) -> Object:
    """An open session. Raises StripeError for what Stripe would refuse."""
    mode = given.get("mode")
    if mode not in ("payment", "subscription", "setup"):
        raise StripeError("You must provide one of `payment`, `subscription` or `setup` as `mode`.", param="mode")
    _check(given, mode)
    lines = [checkout_lines.line(sandbox, n, line, mode) for n, line in enumerate(given.get("line_items") or [])]
    customer_id = given.get("customer")
    customer = sandbox.get(customer_id, "customer", param="customer", status=400) if customer_id else None
    now = sandbox.now()
    expires_at = given.get("expires_at")
    if expires_at is not None and not now + 1700 <= expires_at <= now + 86_400 + 60:
        raise StripeError(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    id = new_id("cs_test")
    session = shapes.checkout_session(id, now, f"{sandbox.url}/c/pay/{id}", lines, given)
    default = (given.get("subscription_data") or {}).get("default_tax_rates") or []
    named = "subscription_data[default_tax_rates]"
    session |= {
        "_due": session["expires_at"],
        "_given": given,
        "_default_tax_rates": tax_rates.chosen(sandbox, default, named),
    }
    tax_rates.check_alone(session["automatic_tax"], default, named)
    if customer is not None:
        session["_clock"] = customer["test_clock"]
        session["customer_details"] = shapes.customer_details(customer["email"], customer["name"])
    if mode == "setup":
        wanted = {**(given.get("setup_intent_data") or {}), **({"customer": customer_id} if customer_id else {})}
        session["setup_intent"] = session["_intent"] = setup_intents.create(sandbox, wanted)["id"]
    else:
        session = checkout_lines.priced(sandbox, session)
        for n, discount in enumerate(given.get("discounts") or []):
            session = checkout_lines.with_discount(sandbox, session, discount, f"discounts[{n}]")
        checkout_lines.check_minimum(session)
    sandbox.store.put(session)
    return session


def update(sandbox: Sandbox, session: Object, given: Object) -> Object:
    """Change a session's metadata, or while it is open its lines. Raises StripeError for what Stripe would refuse."""
    session = {**session, **operations.changes(session, {n: given[n] for n in ("metadata",) if n in given})}
    if "line_items" in given:
        if session["status"] != "open":
            raise StripeError("Only open Checkout Sessions can be updated.", param="line_items", saved=True)
        lines = [_changed_line(sandbox, session, n, entry) for n, entry in enumerate(given["line_items"])]
        if not lines:
            raise StripeError("At least one line item is required.", param="line_items")
        session = checkout_lines.priced(sandbox, {**session, "_line_items": lines})
        checkout_lines.check_minimum(session)
    return checkout_order.keep(sandbox, session)


def expire(sandbox: Sandbox, session: Object) -> Object:
    """Close an open session. Raises StripeError when it is not open."""
    if session["status"] != "open":
        raise StripeError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"`{session['status']}`.",
            saved=True,
        )
    return close(sandbox, session)


def close(sandbox: Sandbox, session: Object) -> Object:
    """Let an open session expire. Returns it as it is then, with the link that brings it back if it has one."""
    session = {**session, "status": "expired", "url": None, "_due": None}
    session = checkout_recovery.with_link(sandbox, session)
    sandbox.store.put(session)
    sandbox.emit("checkout.session.expired", session)
    return session


def wake(sandbox: Sandbox, session: Object) -> None:
    """An open session's time is over."""
    close(sandbox, session)


def recover(sandbox: Sandbox, expired: Object) -> Object:
    """A new session that is a copy of an expired one. Raises StripeError when what it sold is not to be had any more."""
    session = create(sandbox, checkout_recovery.parameters(expired)) | {"recovered_from": expired["id"]}
    sandbox.store.put(session)
    return session


def _check(given: Object, mode: str) -> None:
    if not given.get("success_url"):
        raise StripeError("Missing required param: success_url.", code="parameter_missing", param="success_url")
    for name in _NOT_IN_SETUP if mode == "setup" else ():
        if given.get(name):
            raise StripeError(f"You can not pass `{name}` in `setup` mode.", param=name)
    required = "currency" if mode == "setup" else "line_items"
    if not given.get(required):
        raise StripeError(f"Missing required param: {required}.", code="parameter_missing", param=required)
    for one, other in (("customer", "customer_email"), ("allow_promotion_codes", "discounts")):
        if given.get(one) and given.get(other):
            raise StripeError(f"You may only specify one of these parameters: {one}, {other}.", param=one)
    automatic = given.get("automatic_tax") or {"enabled": False}
    for n, line in enumerate(given.get("line_items") or []):
        rates = line.get("tax_rates") or []
        tax_rates.check_alone(automatic, rates, "tax_rates", f"line_items[{n}][tax_rates]")
    if len(given.get("discounts") or []) > 1:
        raise StripeError("A Checkout Session can have one discount.", param="discounts")


def _changed_line(sandbox: Sandbox, session: Object, n: int, entry: Object) -> Object:
    """A line as an entry of an update has it: one that is there by its `id`, or a new one."""
    if "id" not in entry:
        return checkout_lines.line(sandbox, n, entry, session["mode"])
    kept = next((line for line in session["_line_items"] if line["id"] == entry["id"]), None)
    if kept is None:
        raise StripeError(
            f"No such line item: '{entry['id']}'", code="resource_missing", param=f"line_items[{n}][id]"
        )
    return checkout_lines.adjusted(sandbox, kept, entry, f"line_items[{n}]")


def _lines(sandbox: Sandbox, id: str, given: Object) -> Object:
    session = sandbox.get(id, "checkout.session")
    return lists.page(session["_line_items"], given, f"/v1{_SESSIONS}/{id}/line_items")


def _all_lines(_: Sandbox, session: Object) -> Object:
    return shapes.list_of(session["_line_items"], f"/v1{_SESSIONS}/{session['id']}/line_items")


_SESSIONS = "/checkout/sessions"
INCLUDES = {
    ("checkout.session", "line_items"): _all_lines,
    ("checkout.session", "total_details.breakdown"): lambda _, session: checkout_lines.breakdown(session),
}
OPERATIONS = [
    operations.create(_SESSIONS, params.checkout.SessionCreateParams, create),
    operations.list_of(
        "checkout.session",
        _SESSIONS,
        params.checkout.SessionListParams,
        {"customer_details": lambda s, wanted: (s["customer_details"] or {}).get("email") == wanted.get("email")},
    ),
    operations.retrieve("checkout.session", _SESSIONS, params.checkout.SessionRetrieveParams),
    operations.Operation(
        "POST",
        f"{_SESSIONS}/{{id}}",
        params.checkout.SessionUpdateParams,
        lambda s, id, given: update(s, s.get(id, "checkout.session"), given),
    ),
    operations.Operation(
        "POST",
        f"{_SESSIONS}/{{id}}/expire",
        params.checkout.SessionExpireParams,
        lambda s, id, _: expire(s, s.get(id, "checkout.session")),
    ),
    operations.Operation("GET", f"{_SESSIONS}/{{id}}/line_items", params.checkout.SessionListLineItemsParams, _lines),
]

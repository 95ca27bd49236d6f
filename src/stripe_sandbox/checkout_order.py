"""What buyers change of an open checkout session before they pay: quantities, and a promotion code."""

from stripe_sandbox import checkout_lines, clocks
from stripe_sandbox.billing import coupons, discounts
from stripe_sandbox.errors import StripeError
from stripe_sandbox.money import MINIMUM, shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


class Refused(Exception):
    """A change that this order cannot have; the message is what the buyer reads. Nothing changed."""


def apply_code(sandbox: Sandbox, session: Object, letters: str) -> Object:
    """Use a promotion code, in the place of another one. Returns the session. Raises Refused."""
    if not session["allow_promotion_codes"]:
        raise Refused("This checkout takes no promotion codes.")
    with sandbox.store.transaction(), clocks.in_time_of(sandbox, session["id"]):
        code = coupons.find_code(sandbox, letters.strip())
        if code is None:
            raise Refused(discounts.INVALID)
        try:
            changed = checkout_lines.with_discount(sandbox, session, {"promotion_code": code["id"]}, "discounts[0]")
        except discounts.Unusable as unusable:
            raise Refused(unusable.told) from unusable
        except StripeError as gone:
            raise Refused(discounts.INVALID) from gone
        return keep(sandbox, _chargeable(changed))


def remove_code(sandbox: Sandbox, session: Object) -> Object:
    """Pay without the promotion code. Returns the session. Raises Refused for a discount that the seller gave."""
    if not session["allow_promotion_codes"]:
        raise Refused("This discount is part of the order.")
    with sandbox.store.transaction():
        return keep(sandbox, checkout_lines.without_discount(sandbox, session))


def set_quantity(sandbox: Sandbox, session: Object, line_id: str, quantity: int) -> tuple[Object, str]:
    """Take another quantity of a line, within its limits; none at all takes the line away, but not the last one.

    Returns the session, and as `checked` does what became of its discount. Raises Refused.
    """
    line = next((line for line in session["_line_items"] if line["id"] == line_id), None)
    if line is None or line["adjustable_quantity"] is None:
        raise Refused("The quantity of this item cannot be changed.")
    least, most = limits(session, line)
    if not least <= quantity <= most:
        raise Refused(f"You can take from {least} to {most} of {line['description']}.")
    changed = {**line, "quantity": quantity}
    lines = [changed if other["id"] == line_id else other for other in session["_line_items"]]
    with sandbox.store.transaction():
        session = {**session, "_line_items": [line for line in lines if line["quantity"]]}
        session, gone = checked(sandbox, checkout_lines.priced(sandbox, session))
        return keep(sandbox, _chargeable(session)), gone


def limits(session: Object, line: Object) -> tuple[int, int]:
    """From how many to how many of a line the buyer can take now; the last line stays."""
    adjustable = line["adjustable_quantity"]
    is_last = len(session["_line_items"]) == 1
    return max(adjustable["minimum"], 1) if is_last else adjustable["minimum"], adjustable["maximum"]


def checked(sandbox: Sandbox, session: Object) -> tuple[Object, str]:
    """A session whose discount can still be redeemed, else without it; and why it is gone, in words for the buyer.

    It is not kept.
    """
    if not session["discounts"]:
        return session, ""
    named = {kind: id for kind, id in session["discounts"][0].items() if id is not None}
    with clocks.in_time_of(sandbox, session["id"]):
        try:
            return checkout_lines.with_discount(sandbox, session, named, "discounts[0]"), ""
        except discounts.Unusable as unusable:
            told = unusable.told
        except StripeError:
            told = discounts.INVALID
        return checkout_lines.without_discount(sandbox, session), f"{told} The total has changed."


def keep(sandbox: Sandbox, session: Object) -> Object:
    """Keep a session that comes to another amount. A payment that was begun starts again with that."""
    sandbox.store.put(session)
    intent = sandbox.store.get(session.get("_intent") or "", "payment_intent")
    if intent is not None and intent["amount"] != session["amount_total"] and session["amount_total"]:
        again = {"status": "requires_payment_method", "next_action": None, "payment_method": None}
        sandbox.store.put({**intent, **again, "amount": session["amount_total"]})
    return session


def _chargeable(session: Object) -> Object:
    try:
        checkout_lines.check_minimum(session)
    except StripeError as too_small:
        least = shown(MINIMUM, session["currency"])
        raise Refused(f"The total would be less than {least}, the least that can be charged.") from too_small
    return session

"""Whether what Stripe reports of a checkout agrees with the terms that were frozen for it (S20). Pure."""

from typing import Any

from tallystick.billing.customers import client_reference
from tallystick.billing.purchases import Purchase


def quantity_of(session: dict[str, Any]) -> int | None:
    """How many packs the buyer took, as the session's one line says; None when it has another number of lines."""
    lines = _lines(session)
    return lines[0].get("quantity") if len(lines) == 1 else None


def disagreement(
    purchase: Purchase, session: dict[str, Any], *, livemode: bool, account_id: str | None
) -> str | None:
    """What Stripe reports otherwise than the purchase has it, in words, or None.

    `account_id` is the account that the session's customer belongs to. The gross amount is not compared: what
    differs from the frozen price has to be explained by discount, tax and shipping.
    """
    metadata = session.get("metadata") or {}
    lines = _lines(session)
    line = lines[0] if len(lines) == 1 else {}
    intent = session["payment_intent"] or {"metadata": metadata}
    expected = {
        "mode": (session["mode"], "payment"),
        "livemode": (session["livemode"], livemode),
        "client_reference_id": (session["client_reference_id"], client_reference(purchase.account_id)),
        "customer's account": (account_id, purchase.account_id),
        "currency": (session["currency"], purchase.price.currency.lower()),
        "number of lines": (len(lines), 1),
        "price": ((line.get("price") or {}).get("id"), purchase.stripe_price),
        "metadata purchase_id": (metadata.get("purchase_id"), purchase.id),
        "payment's purchase_id": (intent["metadata"].get("purchase_id"), purchase.id),
        "metadata account_id": (metadata.get("account_id"), purchase.account_id),
        "metadata pack_id": (metadata.get("pack_id"), purchase.pack_id),
        "metadata credits": (metadata.get("credits"), str(purchase.credits_each)),
    }
    wrong = [
        f"{name} is {found!r} at Stripe and {wanted!r} in the purchase"
        for name, (found, wanted) in expected.items()
        if found != wanted
    ]
    quantity = line.get("quantity")
    if not isinstance(quantity, int) or not 1 <= quantity <= purchase.max_quantity:
        wrong.append(f"quantity is {quantity!r} at Stripe and from 1 to {purchase.max_quantity} in the purchase")
    else:
        wrong += _wrong_amounts(purchase, session, quantity)
    return "; ".join(wrong) or None


def _wrong_amounts(purchase: Purchase, session: dict[str, Any], quantity: int) -> list[str]:
    wrong = []
    subtotal, total = session["amount_subtotal"], session["amount_total"]
    due = purchase.minor_each * quantity
    if subtotal != due:
        wrong.append(f"amount before discount and tax is {subtotal!r} at Stripe and {due!r} in the purchase")
    details = session.get("total_details") or {}
    discount, tax = details.get("amount_discount") or 0, details.get("amount_tax") or 0
    if discount and not purchase.promotion_codes:
        wrong.append(f"there is a discount of {discount} at Stripe and the purchase allows none")
    # Tax comes on top of some prices and is contained in others.
    net = due - discount + (details.get("amount_shipping") or 0)
    if not net <= total <= net + tax:
        wrong.append(f"amount is {total!r} at Stripe, which its discount, tax and shipping do not explain")
    return wrong


def _lines(session: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (session.get("line_items") or {}).get("data", [])
    return found

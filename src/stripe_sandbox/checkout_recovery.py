"""Expired checkout sessions: the link that brings one back, and what its copy is made of."""

import secrets

from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

USABLE_SECONDS = 30 * 86_400
"""How long a recovery link is good for."""


def with_link(sandbox: Sandbox, session: Object) -> Object:
    """An expired session with the link that brings it back, if it is to have one. It is not kept."""
    recovery = (session["after_expiration"] or {}).get("recovery")
    if recovery is None or not recovery["enabled"]:
        return session
    token = f"test_{secrets.token_urlsafe(16)}"
    link = {"url": f"{sandbox.url}/r/{token}", "expires_at": sandbox.now() + USABLE_SECONDS}
    return {**session, "after_expiration": {"recovery": {**recovery, **link}}, "_recovery": token}


def find(sandbox: Sandbox, token: str) -> Object | None:
    """The expired session that a link brings back."""
    found = sandbox.store.newest_first("checkout.session", lambda session: session.get("_recovery") == token)
    return found[0] if found else None


def is_over(sandbox: Sandbox, expired: Object) -> bool:
    """Whether the link of an expired session is good for nothing any more."""
    return bool(expired["after_expiration"]["recovery"]["expires_at"] <= sandbox.now())


def parameters(expired: Object) -> Object:
    """The parameters of a copy of an expired session, with the quantities that the buyer had chosen."""
    given = {name: value for name, value in expired["_given"].items() if name != "expires_at"}
    given["line_items"] = [_entry(line) for line in expired["_line_items"]]
    given.pop("allow_promotion_codes", None)
    if expired["after_expiration"]["recovery"]["allow_promotion_codes"]:
        given.pop("discounts", None)
        given["allow_promotion_codes"] = True
    return given


def _entry(line: Object) -> Object:
    entry = {"price": line["price"]["id"], "quantity": line["quantity"], "tax_rates": line.get("_tax_rates", [])}
    return (
        entry if line["adjustable_quantity"] is None else entry | {"adjustable_quantity": line["adjustable_quantity"]}
    )

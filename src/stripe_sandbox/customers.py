"""Customers."""

from stripe import params

from stripe_sandbox import operations, payment_methods, shapes
from stripe_sandbox.billing import lifecycle, standing
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new customer, with the payment method that is given."""
    if given.get("test_clock"):
        sandbox.get(given["test_clock"], "test_helpers.test_clock", param="test_clock", status=400)
    made = shapes.customer(new_id("cus"), sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit("customer.created", made)
    method = given.get("payment_method")
    if method is not None:
        method = payment_methods.attach(sandbox, payment_methods.find(sandbox, method), made["id"])["id"]
    default = made["invoice_settings"]["default_payment_method"]
    if default is not None:
        # A name like pm_card_visa stands for the method that was just made of it.
        settings = {"default_payment_method": method if default == given.get("payment_method") else default}
        made["invoice_settings"] |= _invoice_settings(sandbox, made, settings)
        sandbox.store.put(made)
    return made


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change a customer. Raises Stripe's error for a default payment method that is not theirs."""
    found = sandbox.get(id, "customer")
    changes = operations.changes(found, given)
    if "invoice_settings" in given:
        settings = _invoice_settings(sandbox, found, given["invoice_settings"])
        changes["invoice_settings"] = {**found["invoice_settings"], **settings}
    return sandbox.changed("customer.updated", found, **changes)


def delete(sandbox: Sandbox, id: str) -> Object:
    """Take a customer away, whose subscriptions end with that. What is left says that there was one."""
    found = sandbox.get(id, "customer")
    with sandbox.store.transaction():
        for subscription in sandbox.store.newest_first("subscription", lambda s: bool(s["customer"] == id)):
            if subscription["status"] not in standing.ENDED:
                lifecycle.cancel(sandbox, subscription, {})
        answer = operations.deleted(sandbox, sandbox.get(id, "customer"))
        sandbox.store.put(answer, type=_DELETED)
        sandbox.emit("customer.deleted", found)
    return answer


def _retrieve(sandbox: Sandbox, id: str, _: Object) -> Object:
    return sandbox.store.get(id, _DELETED) or sandbox.get(id, "customer")


def _invoice_settings(sandbox: Sandbox, customer: Object, given: Object) -> Object:
    settings = {name: value or None for name, value in given.items()}
    default = settings.get("default_payment_method")
    if default is not None:
        method = sandbox.store.get(default, "payment_method")
        if method is None or method["customer"] != customer["id"]:
            raise StripeError(
                f"The customer does not have a payment method with the ID {default}. The payment method must be "
                "attached to the customer.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
    return settings


def _tax(_: Sandbox, __: Object) -> Object:
    return {"automatic_tax": "unrecognized_location", "ip_address": None, "location": None, "provider": "stripe"}


_DELETED = "deleted_customer"
INCLUDES = {("customer", "tax"): _tax, ("customer", "invoice_credit_balance"): lambda _, __: {}}

OPERATIONS = [
    operations.create("/customers", params.CustomerCreateParams, create),
    operations.list_of("customer", "/customers", params.CustomerListParams),
    operations.Operation("GET", "/customers/{id}", params.CustomerRetrieveParams, _retrieve),
    operations.Operation("POST", "/customers/{id}", params.CustomerUpdateParams, update),
    operations.Operation("DELETE", "/customers/{id}", params.CustomerDeleteParams, lambda s, id, _: delete(s, id)),
]

"""Customers."""

from stripe import params

from stripe_sandbox import operations, shapes
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new customer."""
    made = shapes.customer(new_id("cus"), sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit("customer.created", made)
    return made


def delete(sandbox: Sandbox, id: str) -> Object:
    """Take a customer away."""
    found = sandbox.get(id, "customer")
    with sandbox.store.transaction():
        answer = operations.deleted(sandbox, found)
        sandbox.emit("customer.deleted", found)
    return answer


OPERATIONS = [
    operations.create("/customers", params.CustomerCreateParams, create),
    operations.list_of("customer", "/customers", params.CustomerListParams),
    operations.retrieve("customer", "/customers", params.CustomerRetrieveParams),
    operations.update("customer", "/customers", params.CustomerUpdateParams),
    operations.Operation("DELETE", "/customers/{id}", params.CustomerDeleteParams, lambda s, id, _: delete(s, id)),
]

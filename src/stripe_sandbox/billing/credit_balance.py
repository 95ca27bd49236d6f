"""A customer's credit balance: what invoices left over, and what later ones take from it.

Negative is credit that the next invoice uses; positive is what the next invoice adds.
"""

from stripe import params

from stripe_sandbox import lists, operations
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def move(
    sandbox: Sandbox, customer: Object, amount: int, currency: str, type: str, given: Object | None = None
) -> Object:
    """Change a customer's balance by `amount`. Returns the transaction that says so; `given` adds to it."""
    given = given or {}
    balance = customer["balance"] + amount
    made: Object = {
        "id": new_id("cbtxn"),
        "object": "customer_balance_transaction",
        "amount": amount,
        "checkout_session": None,
        "created": sandbox.now(),
        "credit_note": None,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "description": given.get("description"),
        "ending_balance": balance,
        "invoice": given.get("invoice"),
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "type": type,
    }
    sandbox.store.put(made)
    sandbox.changed("customer.updated", customer, balance=balance, currency=customer["currency"] or currency)
    return made


def _create(sandbox: Sandbox, id: str, given: Object) -> Object:
    customer = sandbox.get(id, "customer")
    if customer["currency"] not in (None, given["currency"]):
        raise StripeError(f"The customer's currency is {customer['currency']}.", param="currency")
    return move(sandbox, customer, given["amount"], given["currency"], "adjustment", given)


def _list(sandbox: Sandbox, id: str, given: Object) -> Object:
    sandbox.get(id, "customer")
    found = sandbox.store.newest_first("customer_balance_transaction", lambda t: bool(t["customer"] == id))
    return lists.page(found, given, f"/v1/customers/{id}/balance_transactions")


_PATH = "/customers/{id}/balance_transactions"
OPERATIONS = [
    operations.Operation("POST", _PATH, params.CustomerCreateBalanceTransactionParams, _create),
    operations.Operation("GET", _PATH, params.CustomerListBalanceTransactionsParams, _list),
]

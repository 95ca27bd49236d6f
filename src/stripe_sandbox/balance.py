"""Balance transactions: every movement of the account's money, with Stripe's fees, and the balance they add up to."""

from stripe import params

from stripe_sandbox import later, operations
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

DISPUTE_FEE = 1500
"""What a chargeback costs, in cents; a won one gives it back."""

_DAYS_PENDING = 7


def take_in(sandbox: Sandbox, charge: Object, *, available: bool = False) -> Object:
    """The money of a captured charge, less Stripe's fee. Its id is the charge's `balance_transaction`."""
    amount = charge["amount_captured"]
    is_card = charge["payment_method_details"]["type"] == "card"
    fee = (amount * 29 + 500) // 1000 + 30 if is_card else min(500, (amount * 8 + 500) // 1000)
    return record(
        sandbox,
        charge,
        amount,
        type="charge" if is_card else "payment",
        category="charge",
        description=charge["description"],
        fee=fee,
        available=available,
    )


def record(
    sandbox: Sandbox,
    source: Object,
    amount: int,
    *,
    type: str,
    category: str,
    description: str | None,
    fee: int = 0,
    fee_description: str = "Stripe processing fees",
    available: bool = False,
) -> Object:
    """A movement of `amount` that `source` (a charge, refund or dispute) caused. Pending for a week, as Stripe's are."""
    now = sandbox.now()
    details = {
        "amount": fee,
        "application": None,
        "currency": source["currency"],
        "description": fee_description,
        "type": "stripe_fee",
    }
    transaction = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now if available else (now // 86_400 + _DAYS_PENDING) * 86_400,
        "balance_type": "payments",
        "created": now,
        "currency": source["currency"],
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [details] if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": source["id"],
        "status": "available" if available else "pending",
        "type": type,
    }
    sandbox.store.put(transaction)
    if not available:
        later.schedule(sandbox, "balance.available", transaction["id"], transaction["available_on"] - now)
    return transaction


def _become_available(sandbox: Sandbox, id: str) -> None:
    sandbox.store.put({**sandbox.get(id, "balance_transaction"), "status": "available"})


def _balance(sandbox: Sandbox) -> Object:
    sums: dict[str, dict[str, int]] = {"available": {}, "pending": {}}
    for transaction in sandbox.store.newest_first("balance_transaction"):
        by_currency = sums[transaction["status"]]
        by_currency[transaction["currency"]] = by_currency.get(transaction["currency"], 0) + transaction["net"]
    currencies = sorted({currency for by_currency in sums.values() for currency in by_currency} or {"usd"})
    return {
        "object": "balance",
        **{
            status: [
                {
                    "amount": by_currency.get(currency, 0),
                    "currency": currency,
                    "source_types": {"card": by_currency.get(currency, 0)},
                }
                for currency in currencies
            ]
            for status, by_currency in sums.items()
        },
        "livemode": False,
    }


LATER: later.Handlers = {"balance.available": _become_available}

_PATH = "/balance_transactions"
OPERATIONS = [
    operations.Operation("GET", "/balance", params.BalanceRetrieveParams, lambda sandbox, _, __: _balance(sandbox)),
    operations.list_of("balance_transaction", _PATH, params.BalanceTransactionListParams),
    operations.retrieve("balance_transaction", _PATH, params.BalanceTransactionRetrieveParams),
]

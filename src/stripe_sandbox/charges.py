"""Charges: looked at and annotated. `payments` makes them."""

from stripe import params

from stripe_sandbox import operations

OPERATIONS = [
    operations.list_of("charge", "/charges", params.ChargeListParams),
    operations.retrieve("charge", "/charges", params.ChargeRetrieveParams),
    operations.update("charge", "/charges", params.ChargeUpdateParams),
]

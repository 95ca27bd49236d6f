"""The account that the keys belong to."""

from stripe import params

from stripe_sandbox import operations
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_KIND = "account"


def current(sandbox: Sandbox) -> Object:
    """The sandbox's one account, made when it is first asked for."""
    with sandbox.store.transaction():
        found = sandbox.store.newest_first(_KIND)
        if found:
            return found[0]
        made = _shape(new_id("acct"), sandbox.now())
        sandbox.store.put(made)
        return made


def _shape(id: str, created: int) -> Object:
    return {
        "id": id,
        "object": _KIND,
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": None,
            "minority_owned_business_designation": None,
            "name": "Sandbox",
            "product_description": None,
            "support_address": None,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": None,
        },
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": "US",
        "created": created,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "sandbox@example.com",
        "external_accounts": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/accounts/{id}/external_accounts",
        },
        "future_requirements": _nothing_is_due(),
        "metadata": {},
        "payouts_enabled": True,
        "requirements": _nothing_is_due(),
        "settings": {
            "bacs_debit_payments": {"display_name": None, "service_user_number": None},
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_issuing": {"tos_acceptance": {"date": None, "ip": None}},
            "card_payments": {
                "decline_on": {"avs_failure": False, "cvc_failure": False},
                "statement_descriptor_prefix": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "dashboard": {"display_name": "Sandbox", "timezone": "Etc/UTC"},
            "invoices": {"default_account_tax_ids": None, "hosted_payment_method_save": None},
            "payments": {
                "statement_descriptor": "SANDBOX",
                "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
            },
            "payouts": {
                "debit_negative_balances": True,
                "schedule": {"delay_days": 2, "interval": "daily"},
                "statement_descriptor": None,
            },
            "sepa_debit_payments": {},
        },
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        "type": "standard",
    }


def _nothing_is_due() -> Object:
    return {
        "alternatives": [],
        "current_deadline": None,
        "currently_due": [],
        "disabled_reason": None,
        "errors": [],
        "eventually_due": [],
        "past_due": [],
        "pending_verification": [],
    }


OPERATIONS = [
    operations.Operation("GET", "/account", params.AccountRetrieveCurrentParams, lambda s, _, __: current(s)),
]

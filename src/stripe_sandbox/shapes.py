"""Objects of the catalogue and of checkout, complete: every key that Stripe sends, with the value of a new one."""

from typing import Any

from stripe_sandbox.store import Object


def list_of(data: list[Any], url: str, *, has_more: bool = False) -> Object:
    """A list object."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def customer(id: str, created: int, given: Object) -> Object:
    """A customer from the parameters of its creation."""
    invoice_settings = given.get("invoice_settings") or {}
    return {
        "id": id,
        "object": "customer",
        "address": given.get("address"),
        "balance": given.get("balance", 0),
        "created": created,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": given.get("description"),
        "discount": None,
        "email": given.get("email"),
        "invoice_prefix": id[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": invoice_settings.get("default_payment_method"),
            "footer": invoice_settings.get("footer"),
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "name": given.get("name"),
        "next_invoice_sequence": 1,
        "phone": given.get("phone"),
        "preferred_locales": given.get("preferred_locales") or [],
        "shipping": given.get("shipping"),
        "tax_exempt": given.get("tax_exempt") or "none",
        "test_clock": given.get("test_clock"),
    }


def product(id: str, created: int, given: Object) -> Object:
    """A product from the parameters of its creation."""
    return {
        "id": id,
        "object": "product",
        "active": given.get("active", True),
        "created": created,
        "default_price": None,
        "description": given.get("description"),
        "images": given.get("images") or [],
        "livemode": False,
        "marketing_features": given.get("marketing_features") or [],
        "metadata": given.get("metadata") or {},
        "name": given["name"],
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": given.get("statement_descriptor"),
        "tax_code": None,
        "unit_label": given.get("unit_label"),
        "updated": created,
        "url": given.get("url"),
    }


def price(id: str, created: int, product_id: str, given: Object) -> Object:
    """A price from the parameters of its creation."""
    recurring = given.get("recurring")
    amount = given["unit_amount"]
    return {
        "id": id,
        "object": "price",
        "active": given.get("active", True),
        "billing_scheme": "per_unit",
        "created": created,
        "currency": given["currency"],
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": given.get("lookup_key"),
        "metadata": given.get("metadata") or {},
        "nickname": given.get("nickname"),
        "product": product_id,
        "recurring": None
        if recurring is None
        else {
            "interval": recurring["interval"],
            "interval_count": recurring.get("interval_count", 1),
            "meter": None,
            "usage_type": "licensed",
        },
        "tax_behavior": given.get("tax_behavior") or "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time" if recurring is None else "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def webhook_endpoint(id: str, created: int, given: Object) -> Object:
    """A webhook endpoint from the parameters of its creation, without its secret."""
    return {
        "id": id,
        "object": "webhook_endpoint",
        "api_version": given.get("api_version"),
        "application": None,
        "created": created,
        "description": given.get("description"),
        "enabled_events": given["enabled_events"],
        "livemode": False,
        "metadata": given.get("metadata") or {},
        "status": "enabled",
        "url": given["url"],
    }


def line_item(id: str, price: Object, product: Object, quantity: int, adjustable: Object | None = None) -> Object:
    """One line of a checkout session, before discount and tax."""
    amount = price["unit_amount"] * quantity
    return {
        "id": id,
        "object": "item",
        "adjustable_quantity": adjustable,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": product["name"],
        "metadata": {},
        "price": price,
        "quantity": quantity,
    }


def checkout_session(id: str, created: int, url: str, lines: list[Object], given: Object) -> Object:
    """An open checkout session from the parameters of its creation."""
    payment, setup = given["mode"] == "payment", given["mode"] == "setup"
    total = None if setup else sum(line["amount_total"] for line in lines)
    email = given.get("customer_email")
    return {
        "id": id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": (given.get("adaptive_pricing") or {}).get("enabled", not setup)},
        "after_expiration": _after_expiration(given.get("after_expiration") or {}),
        "allow_promotion_codes": given.get("allow_promotion_codes"),
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": _automatic_tax(given.get("automatic_tax") or {}),
        "billing_address_collection": given.get("billing_address_collection"),
        "branding_settings": {
            "background_color": "#ffffff",
            "border_style": "rounded",
            "button_color": "#0074d4",
            "display_name": "Sandbox",
            "font_family": "default",
            "icon": None,
            "logo": None,
        },
        "cancel_url": given.get("cancel_url"),
        "client_reference_id": given.get("client_reference_id"),
        "client_secret": None,
        "collected_information": {
            "business_name": None,
            "individual_name": None,
            "shipping_details": None,
        },
        "consent": None,
        "consent_collection": None,
        "created": created,
        "currency": lines[0]["currency"] if lines else given["currency"].lower(),
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": given.get("customer"),
        "customer_account": None,
        "customer_creation": None
        if given.get("customer") or not (payment or setup)
        else given.get("customer_creation", "if_required"),
        "customer_details": customer_details(email) if email else None,
        "customer_email": email,
        "discounts": None if setup else [],
        "expires_at": given.get("expires_at") or created + 86_400,
        "integration_identifier": None,
        "invoice": None,
        "invoice_creation": {
            "enabled": False,
            "invoice_data": {
                "account_tax_ids": None,
                "custom_fields": None,
                "description": None,
                "footer": None,
                "issuer": None,
                "metadata": {},
                "rendering_options": None,
            },
        }
        if payment
        else None,
        "livemode": False,
        "locale": given.get("locale"),
        "managed_payments": {"enabled": False},
        "metadata": given.get("metadata") or {},
        "mode": given["mode"],
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": given.get("payment_method_collection", "if_required" if payment else "always"),
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card", "us_bank_account"] if payment else ["card"],
        "payment_status": "no_payment_required" if setup else "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": {
            "allow_redisplay_filters": ["always"],
            "payment_method_remove": "disabled",
            "payment_method_save": None,
        }
        if given.get("customer")
        else None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": given.get("submit_type"),
        "subscription": None,
        "success_url": given.get("success_url"),
        "total_details": None if setup else {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": url,
        "wallet_options": None,
        "_line_items": lines,
        "_payment": _payment_settings(given.get("payment_intent_data") or {}),
        "_subscription": _subscription_settings(given.get("subscription_data") or {}),
    }


def _payment_settings(given: Object) -> Object:
    """What a session's payment intent will be like."""
    kept = ("capture_method", "description", "metadata", "receipt_email", "setup_future_usage", "shipping")
    return {name: given[name] for name in kept if name in given}


def _subscription_settings(given: Object) -> Object:
    """What a session's subscription will be like."""
    kept = ("description", "metadata", "trial_end", "trial_period_days", "trial_settings")
    return {name: given[name] for name in kept if name in given}


def _after_expiration(given: Object) -> Object | None:
    """How an expired session can be recovered; its link is made when it expires."""
    if "recovery" not in given:
        return None
    wanted = given["recovery"]
    return {
        "recovery": {
            "allow_promotion_codes": wanted.get("allow_promotion_codes", False),
            "enabled": wanted["enabled"],
            "expires_at": None,
            "url": None,
        }
    }


def _automatic_tax(given: Object) -> Object:
    if not given.get("enabled"):
        return {"enabled": False, "liability": None, "provider": None, "status": None}
    return {"enabled": True, "liability": {"type": "self"}, "provider": "stripe", "status": "complete"}


def customer_details(email: str | None, name: str | None = None) -> Object:
    """What a session knows of its buyer."""
    return {
        "address": None,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": None,
    }


def event(id: str, created: int, type: str, body: Object, request: Object, version: str) -> Object:
    """An event about `body`."""
    return {
        "id": id,
        "object": "event",
        "api_version": version,
        "created": created,
        "data": {"object": body},
        "livemode": False,
        "pending_webhooks": 0,
        "request": request,
        "type": type,
    }

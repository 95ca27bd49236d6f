"""Products and prices."""

from stripe import params

from stripe_sandbox import money, operations, shapes
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

MAX_LOOKUP_KEYS = 10
"""How many lookup keys can be asked for at once."""


def create_product(sandbox: Sandbox, given: Object) -> Object:
    """A new product. Raises StripeError when there is one of the id that is given."""
    id = given.get("id") or new_id("prod")
    if sandbox.store.get(id) is not None:
        raise StripeError("Product already exists.", code="resource_already_exists", param="id")
    made = shapes.product(id, sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit("product.created", made)
    return made


def update_product(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change a product. Raises StripeError for a default price that is not one of its own."""
    found = sandbox.get(id, "product")
    if given.get("default_price"):
        price = sandbox.get(given["default_price"], "price", param="default_price", status=400)
        if price["product"] != id:
            raise missing("price", price["id"], param="default_price", status=400)
    return sandbox.changed("product.updated", found, **operations.changes(found, given), updated=sandbox.now())


def delete_product(sandbox: Sandbox, id: str) -> Object:
    """Take a product away. Raises StripeError when it has prices."""
    found = sandbox.get(id, "product")
    if sandbox.store.newest_first("price", lambda price: bool(price["product"] == id)):
        raise StripeError("This product cannot be deleted because it has one or more user-created prices.")
    answer = operations.deleted(sandbox, found)
    sandbox.emit("product.deleted", found)
    return answer


def create_price(sandbox: Sandbox, given: Object) -> Object:
    """A new price of a product, which can be made along with it. Raises StripeError for a lookup key that is taken."""
    if "unit_amount" not in given:
        raise StripeError("Missing required param: unit_amount.", code="parameter_missing", param="unit_amount")
    if "product_data" in given:
        product = create_product(sandbox, {"name": given["product_data"]["name"]})
    else:
        product = sandbox.get(given.get("product", ""), "product", param="product", status=400)
    made = shapes.price(new_id("price"), sandbox.now(), product["id"], given)
    _take_lookup_key(sandbox, made["id"], given)
    sandbox.store.put(made)
    sandbox.emit("price.created", made)
    return made


def update_price(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change what may be changed of a price, or archive it.

    Raises StripeError for a lookup key that is taken, and for archiving the default price of a product.
    """
    found = sandbox.get(id, "price")
    product = sandbox.get(found["product"], "product")
    if given.get("active") is False and product["default_price"] == id:
        raise StripeError("This price cannot be archived because it is the default price of its product.")
    _take_lookup_key(sandbox, id, given)
    changes = operations.changes(found, given)
    if "lookup_key" in changes:
        changes["lookup_key"] = changes["lookup_key"] or None
    return sandbox.changed("price.updated", found, **changes)


def _take_lookup_key(sandbox: Sandbox, id: str, given: Object) -> None:
    """Free a lookup key that another price has, archived or not. Raises StripeError unless it is to be transferred."""
    key = given.get("lookup_key")
    if not key:
        return
    for holder in sandbox.store.newest_first("price", lambda p: bool(p["lookup_key"] == key and p["id"] != id)):
        if not given.get("transfer_lookup_key"):
            raise StripeError(f"A price (`{holder['id']}`) already uses that lookup key.", param="lookup_key")
        sandbox.changed("price.updated", holder, lookup_key=None)


def _has_lookup_key(price: Object, wanted: list[str]) -> bool:
    if len(wanted) > MAX_LOOKUP_KEYS:
        raise StripeError(f"You can only pass up to {MAX_LOOKUP_KEYS} lookup keys.", param="lookup_keys")
    return price["lookup_key"] in wanted


def _recurs(price: Object, wanted: Object) -> bool:
    recurring = price["recurring"] or {}
    return all(recurring.get(name) == value for name, value in wanted.items())


def price_text(price: Object) -> str:
    """A price as people read it, like `$19.00 / month` or `$5.99`."""
    text = money.shown(price["unit_amount"], price["currency"])
    recurring = price["recurring"]
    if recurring is None:
        return text
    count, interval = recurring["interval_count"], recurring["interval"]
    return f"{text} / {interval}" if count == 1 else f"{text} every {count} {interval}s"


OPERATIONS = [
    operations.create("/products", params.ProductCreateParams, create_product),
    operations.list_of("product", "/products", params.ProductListParams),
    operations.retrieve("product", "/products", params.ProductRetrieveParams),
    operations.Operation("POST", "/products/{id}", params.ProductUpdateParams, update_product),
    operations.Operation(
        "DELETE", "/products/{id}", params.ProductDeleteParams, lambda s, id, _: delete_product(s, id)
    ),
    operations.create("/prices", params.PriceCreateParams, create_price),
    operations.list_of(
        "price", "/prices", params.PriceListParams, {"lookup_keys": _has_lookup_key, "recurring": _recurs}
    ),
    operations.retrieve("price", "/prices", params.PriceRetrieveParams),
    operations.Operation("POST", "/prices/{id}", params.PriceUpdateParams, update_price),
]

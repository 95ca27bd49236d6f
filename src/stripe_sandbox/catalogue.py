"""Products and prices."""

from stripe import params

from stripe_sandbox import money, operations, shapes
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def create_product(sandbox: Sandbox, given: Object) -> Object:
    """A new product."""
    made = shapes.product(given.get("id") or new_id("prod"), sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit("product.created", made)
    return made


def create_price(sandbox: Sandbox, given: Object) -> Object:
    """A new price of a product, which can be made along with it."""
    if "unit_amount" not in given:
        raise StripeError("Missing required param: unit_amount.", code="parameter_missing", param="unit_amount")
    if "product_data" in given:
        product = create_product(sandbox, {"name": given["product_data"]["name"]})
    else:
        product = sandbox.get(given.get("product", ""), "product", param="product", status=400)
    made = shapes.price(new_id("price"), sandbox.now(), product["id"], given)
    sandbox.store.put(made)
    sandbox.emit("price.created", made)
    return made


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
    operations.update("product", "/products", params.ProductUpdateParams),
    operations.create("/prices", params.PriceCreateParams, create_price),
    operations.list_of("price", "/prices", params.PriceListParams),
    operations.retrieve("price", "/prices", params.PriceRetrieveParams),
    operations.update("price", "/prices", params.PriceUpdateParams),
]

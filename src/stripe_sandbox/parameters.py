"""Request validation from the SDK's own parameter types, so that it refuses what Stripe refuses.

The TypedDicts in `stripe.params` are generated from Stripe's API description; nothing is listed by hand.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from stripe._request_options import RequestOptions
from typing_extensions import is_typeddict

from stripe_sandbox.errors import StripeError

_OPTIONS = frozenset(RequestOptions.__annotations__)
# What the inherited annotations of RequestOptions name, one of which the SDK imports for type checkers only.
_OPTION_NAMES: dict[str, Any] = {"Mapping": Mapping, "StripeContext": object}

_EARLIER: dict[tuple[str, str], Any] = {
    ("SubscriptionUpdateParams", "billing_cycle_anchor"): Literal["now", "unchanged"],
    ("SubscriptionResumeParams", "billing_cycle_anchor"): Literal["now", "unchanged"],
    ("InvoiceCreatePreviewParamsSubscriptionDetails", "billing_cycle_anchor"): Literal["now", "unchanged"] | int,
}
"""The SDK's types are of a later API version than the sandbox's. This is what its version takes in their place too."""


def check(params: Mapping[str, Any], shape: type) -> dict[str, Any]:
    """`params` with every value in its type. Raises StripeError for what `shape` does not allow."""
    return _typed_dict(params, shape, "")


@cache
def _fields(shape: type) -> dict[str, tuple[Any, bool]]:
    """Each field's type and whether it is required."""
    hints = get_type_hints(shape, localns=_OPTION_NAMES, include_extras=True)
    fields = {}
    for name, hint in hints.items():
        if name in _OPTIONS:
            continue
        earlier = _EARLIER.get((shape.__name__, name))
        wrapper = get_origin(hint)
        if wrapper is NotRequired or wrapper is Required:
            hint, required = get_args(hint)[0], wrapper is Required
        else:
            required = name in getattr(shape, "__required_keys__", ())
        fields[name] = (hint if earlier is None else hint | earlier, required)
    return fields


def _typed_dict(value: Any, shape: type, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise StripeError("Invalid object", param=path or None)
    fields = _fields(shape)
    result = {}
    for name, inner in value.items():
        at = f"{path}[{name}]" if path else name
        if name not in fields:
            raise StripeError(f"Received unknown parameter: {at}", code="parameter_unknown", param=at)
        result[name] = _value(inner, fields[name][0], at)
    for name, (_, required) in fields.items():
        if required and name not in result:
            at = f"{path}[{name}]" if path else name
            raise StripeError(f"Missing required param: {at}.", code="parameter_missing", param=at)
    return result


def _value(value: Any, hint: Any, path: str) -> Any:
    origin = get_origin(hint)
    if origin is Union or origin is UnionType:
        return _union(value, get_args(hint), path)
    if origin is Literal:
        return _choice(value, get_args(hint), path)
    if origin is list:
        return _list(value, get_args(hint)[0], path)
    if origin is dict:
        if value == "":
            return {}
        return {
            key: _value(inner, get_args(hint)[1], f"{path}[{key}]") for key, inner in _mapping(value, path).items()
        }
    if is_typeddict(hint):
        return _typed_dict(value, hint, path)
    return _scalar(value, hint, path)


def _union(value: Any, hints: tuple[Any, ...], path: str) -> Any:
    failure: StripeError | None = None
    if any(get_origin(hint) is Literal and get_args(hint) != ("",) for hint in hints):
        # The SDK adds `str` to every enumeration, for values that later versions may add.
        hints = tuple(hint for hint in hints if hint is not str)
    # Text fits any `str`, so the narrower types are asked first.
    for hint in sorted(hints, key=lambda hint: hint is str):
        if hint is NoneType:
            continue
        try:
            return _value(value, hint, path)
        except StripeError as error:
            if failure is None or is_typeddict(hint) or get_origin(hint) is list:
                failure = error
    raise failure or StripeError(f"Invalid {path}", param=path)


def _choice(value: Any, choices: tuple[Any, ...], path: str) -> Any:
    if value in choices:
        return value
    names = [str(choice) for choice in choices]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, or {names[-1]}"
    raise StripeError(f"Invalid {path}: must be one of {listed}", param=path)


def _list(value: Any, hint: Any, path: str) -> list[Any]:
    if value == "":
        return []
    items = _mapping(value, path, what="array")
    if not all(key.isdigit() for key in items):
        raise StripeError("Invalid array", param=path)
    return [_value(items[key], hint, f"{path}[{key}]") for key in sorted(items, key=int)]


def _mapping(value: Any, path: str, what: str = "object") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise StripeError(f"Invalid {what}", param=path)
    return value


def _scalar(value: Any, hint: Any, path: str) -> Any:
    if not isinstance(value, str):
        raise StripeError("Invalid string: value was not a string", param=path)
    if hint is bool:
        if value not in ("true", "false"):
            raise StripeError(f"Invalid boolean: {value}", code="parameter_invalid_boolean", param=path)
        return value == "true"
    if hint is int:
        try:
            return int(value)
        except ValueError:
            raise StripeError(f"Invalid integer: {value}", code="parameter_invalid_integer", param=path) from None
    if hint is float or hint is Decimal:
        try:
            return str(Decimal(value)) if hint is Decimal else float(value)
        except (ValueError, InvalidOperation):
            raise StripeError(f"Invalid decimal: {value}", param=path) from None
    return value

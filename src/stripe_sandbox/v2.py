"""What is different below /v2: JSON bodies, its own way of saying that something is not there, and of turning pages."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

from stripe_sandbox import forms
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

MAX_PAGE = 100
DEFAULT_PAGE = 20


def given(query: str, body: bytes) -> Object:
    """The parameters of a request in the form that `parameters` checks. Raises StripeError for what is no JSON."""
    from_query = forms.decode(parse_qsl(query, keep_blank_values=True))
    if not body:
        return from_query
    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise StripeError("The request body is not a JSON object.", code="invalid_json")
    return {**from_query, **_as_form(decoded)}


def get(sandbox: Sandbox, id: str, type: str) -> Object:
    """The object of that id and type. Raises StripeError (not_found) when there is none."""
    found = sandbox.store.get(id, type)
    if found is None:
        raise StripeError(f"The resource '{id}' wasn't found.", status=404, code="not_found")
    return found


def page(objects: list[Object], given: Object, url: str) -> Object:
    """One page of `objects`, with the addresses of the pages after and before it.

    A page is named by the place of its first object among those that `given` asks for.
    """
    limit = given.get("limit", DEFAULT_PAGE)
    if not 1 <= limit <= MAX_PAGE:
        raise StripeError(f"The limit must be between 1 and {MAX_PAGE}.", code="invalid_fields", param="limit")
    place = given.get("page", "0")
    if not place.isdigit():
        raise StripeError(f"There is no page '{place}'.", code="invalid_fields", param="page")
    start = int(place)
    after, before = start + limit, max(0, start - limit)
    return {
        "data": objects[start:after],
        "next_page_url": _page_url(url, given, after) if after < len(objects) else None,
        "previous_page_url": _page_url(url, given, before) if start > 0 else None,
    }


def _page_url(url: str, given: Object, start: int) -> str:
    return f"{url}?{urlencode(list(_pairs({**given, 'page': start})))}"


def _pairs(given: Any, path: str = "") -> Any:
    items = given.items() if isinstance(given, dict) else enumerate(given)
    for key, value in items:
        at = f"{path}[{key}]" if path else str(key)
        if isinstance(value, dict | list):
            yield from _pairs(value, at)
        else:
            yield at, value


def _as_form(value: Any) -> Any:
    """JSON as form encoding would put it: text throughout, lists as dicts with number keys."""
    if isinstance(value, dict):
        return {key: _as_form(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return {str(n): _as_form(inner) for n, inner in enumerate(value)}
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)

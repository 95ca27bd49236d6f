"""Stripe's form encoding: `a[b][0][c]=1` becomes nested dicts. Lists stay dicts with number keys here;
what is a list is known only to the parameters' types."""

import re
from collections.abc import Iterable
from typing import Any

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def decode(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Nested dicts of strings from form pairs. `a[]` counts up from 0."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.fullmatch(key)
        path = [match.group(1), *_PART.findall(match.group(2))] if match else [key]
        _put(result, path, value)
    return result


def _put(target: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        inner = target.setdefault(part or str(len(target)), {})
        if not isinstance(inner, dict):
            return
        target = inner
    last = path[-1]
    target[last or str(len(target))] = value

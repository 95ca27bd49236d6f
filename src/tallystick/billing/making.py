"""Making something at Stripe exactly once, also when whoever makes it dies in between and comes back.

An idempotency key alone makes it at most once, but for a day it also brings back the answer about a thing that was
taken away since. So what was made is looked at, and the next key is taken when it is not there.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tallystick.billing.errors import StripeUnavailable

MAX_TRIES = 10
"""How often in a day one thing may be made and taken away again."""


async def make_surely(
    create: Callable[[dict[str, Any], str], Awaitable[dict[str, Any]]],
    params: dict[str, Any],
    is_there: Callable[[dict[str, Any]], Awaitable[bool]],
    what: str,
) -> dict[str, Any]:
    """The answer to making `what` with these parameters, which is there. Whoever does the same gets the same one.

    Raises what `create` raises, and StripeUnavailable when it has been taken away too often.
    """
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:32]
    for n in range(MAX_TRIES):
        made = await create(params, f"tallystick-{what}-{digest}-{n}")
        if await is_there(made):
            return made
    raise StripeUnavailable

"""What happens by itself later: kept with its time, and done once the clock has passed it.

`agenda` does it. What an object does at its own `_due` needs no booking.
"""

from collections.abc import Callable, Mapping

from stripe_sandbox.sandbox import Sandbox

Handlers = Mapping[str, Callable[[Sandbox, str], None]]
"""By name: what to do with the object of that id. A handler looks first whether it still applies."""


def schedule(sandbox: Sandbox, what: str, id: str, seconds: int = 0) -> None:
    """Have `what` done with the object `id` when so many seconds have passed; 0 means at the next tick.

    They pass in the test clock in whose time this is asked for, else in everybody's.
    """
    sandbox.store.book(what, id, sandbox.now() + seconds, sandbox.clock())

"""A local Stripe: stateful, in test mode, with a hosted checkout page. See the README next to this file.

What it exports is loaded when it is asked for: pytest loads this package for its fixture before every test run, and
the SDK takes seconds to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stripe_sandbox.sandbox import API_VERSION, Sandbox
    from stripe_sandbox.server import SandboxServer, create_app

__all__ = ["API_VERSION", "Sandbox", "SandboxServer", "create_app"]

_PLACES = {
    "API_VERSION": "stripe_sandbox.sandbox",
    "Sandbox": "stripe_sandbox.sandbox",
    "SandboxServer": "stripe_sandbox.server",
    "create_app": "stripe_sandbox.server",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)

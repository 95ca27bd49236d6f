"""A local Stripe: stateful, in test mode, with a hosted checkout page. See the README next to this file."""

from stripe_sandbox.sandbox import API_VERSION, Sandbox
from stripe_sandbox.server import SandboxServer, create_app

__all__ = ["API_VERSION", "Sandbox", "SandboxServer", "create_app"]

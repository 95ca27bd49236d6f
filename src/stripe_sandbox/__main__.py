"""`stripe-sandbox`: the sandbox on its own."""

import asyncio
import signal
import sys
from typing import Annotated

import typer

from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.server import SandboxServer


def run(
    port: Annotated[int, typer.Option(help="Where to listen on 127.0.0.1; 0 takes a free one.")] = 12111,
    database: Annotated[str, typer.Option(help="A file that keeps everything between runs.")] = ":memory:",
    webhook: Annotated[
        list[str] | None,
        typer.Option(help="Deliver events to URL, signed with SECRET if one is given: URL or URL=whsec_..."),
    ] = None,
) -> None:
    """A local Stripe in test mode. Point your Stripe client's base address at it; use any sk_test_ key."""
    try:
        asyncio.run(_serve(port, database, webhook or []))
    except OSError as error:
        typer.echo(f"Cannot listen on port {port}: {error.strerror}. Choose another with --port.", err=True)
        raise typer.Exit(1) from error


async def _serve(port: int, database: str, webhooks: list[str]) -> None:
    sandbox = Sandbox(database)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with SandboxServer(sandbox, port=port) as server:
        typer.echo(f"Stripe sandbox: {server.url}   (key: sk_test_anything, pages: {server.url}/sandbox/)")
        for webhook in webhooks:
            url, _, secret = webhook.partition("=whsec_")
            endpoint = sandbox.register_webhook(url, f"whsec_{secret}" if secret else None)
            typer.echo(f"Webhooks to {url}, signed with {endpoint['secret']}")
        sys.stdout.flush()
        await stop.wait()
    sandbox.close()


def main() -> None:
    """The console script."""
    typer.run(run)


if __name__ == "__main__":
    main()

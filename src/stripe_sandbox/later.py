"""What happens by itself later: kept with its time, and done once the sandbox's clock has passed it."""

from collections.abc import Callable, Mapping

from stripe_sandbox.sandbox import Sandbox

Handlers = Mapping[str, Callable[[Sandbox, str], None]]
"""By name: what to do with the object of that id. A handler looks first whether it still applies."""


def schedule(sandbox: Sandbox, what: str, id: str, seconds: int = 0) -> None:
    """Have `what` done with the object `id` when so many seconds have passed; 0 means at the next tick."""
    with sandbox.store.transaction():
        sandbox.store.connection.execute(
            "INSERT INTO later (due, what, object_id) VALUES (?, ?, ?)", (sandbox.now() + seconds, what, id)
        )


def run_due(sandbox: Sandbox, handlers: Handlers) -> None:
    """Do everything whose time has come, in the order of those times."""
    now = sandbox.now()
    while True:
        with sandbox.store.transaction():
            row = sandbox.store.connection.execute(
                "SELECT id, what, object_id FROM later WHERE due <= ? ORDER BY due, id LIMIT 1", (now,)
            ).fetchone()
            if row is None:
                return
            id, what, object_id = row
            sandbox.store.connection.execute("DELETE FROM later WHERE id = ?", (id,))
            handlers[what](sandbox, object_id)

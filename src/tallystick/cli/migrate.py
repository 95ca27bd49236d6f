"""`tallystick migrate`."""

from rich.console import Console

from tallystick.config import environment, load_database_url
from tallystick.database.schema import pending_revisions, upgrade


async def migrate() -> None:
    """Create or upgrade the schema of DATABASE_URL and say what was done."""
    url = load_database_url(environment())
    pending = await pending_revisions(url)
    console = Console()
    if not pending:
        console.print("The schema is up to date.")
        return
    await upgrade(url)
    console.print(f"Applied {', '.join(pending)}. The schema is up to date.", highlight=False)

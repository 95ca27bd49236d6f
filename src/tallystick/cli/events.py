"""`tallystick events`: what came from Stripe, what became of it, working it again, and letting it rest."""

import asyncio
import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from tallystick.billing import EventStatus, EventStory, Refused, StoredEvent, hour_of
from tallystick.cli.accounts import print_json
from tallystick.cli.installation import billing
from tallystick.cli.running import EXIT_REFUSED, exits_cleanly
from tallystick.cli.since import read_since, since_option
from tallystick.cli.tables import print_table, text_console
from tallystick.domain.errors import InvalidInput

app = typer.Typer(
    name="events", no_args_is_help=True, help="Stripe's events: what came, what became of it, working it again."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


@app.command("list")
@exits_cleanly
def list_events(
    state: Annotated[EventStatus | None, typer.Option(help="Only those: pending ones wait to be worked.")] = None,
    type: Annotated[str | None, typer.Option(help="Only of this type, like invoice.paid.")] = None,
    account: Annotated[str | None, typer.Option(help="Only what was found to be about this account.")] = None,
    since: Annotated[str | None, since_option("Only what was received since then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the events that came from Stripe, newest first."""
    asyncio.run(_list(state, type, account, read_since(since), limit, as_json=as_json))


@app.command("show")
@exits_cleanly
def show_event(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's id, evt_…")], as_json: AsJson = False
) -> None:
    """Show one event: when it came, what became of it, what the ledger says of it, and what Stripe sent."""
    asyncio.run(_show(event, as_json=as_json))


@app.command("replay")
@exits_cleanly
def replay_events(
    events: Annotated[
        list[str] | None, typer.Argument(metavar="[EVENT]...", help="The events' ids, evt_…", show_default=False)
    ] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that are parked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Work events again. Safe at any time: what has taken effect already takes effect once.

    Exits with 1 when one of them could not be worked; the message says why.
    """
    raise typer.Exit(asyncio.run(_replay(events or [], parked=parked, as_json=as_json)))


@app.command("dismiss")
@exits_cleanly
def dismiss_events(
    events: Annotated[list[str], typer.Argument(metavar="EVENT...", help="The events' ids, evt_…")],
    reason: Annotated[str, typer.Option(help="What was done in its place; `events show` says so.")],
    as_json: AsJson = False,
) -> None:
    """Let parked events rest, because what they are about was done in another way, as a refund by hand.

    Changes nothing else. They can still be replayed.
    """
    asyncio.run(_dismiss(events, reason, as_json=as_json))


async def _list(
    state: EventStatus | None,
    type: str | None,
    account: str | None,
    since: datetime | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    async with billing() as room:
        found = await room.latest_events(limit, state, type=type, account_id=account, since=since)
        refused = await room.refusals(since) if state in (None, EventStatus.REFUSED) else []
    if as_json:
        print_json({"events": [_plain(event) for event in found], "refused": [_plain(each) for each in refused]})
        return
    if found:
        _print(found)
    else:
        text_console().print("No such events.")
    if refused and state is EventStatus.REFUSED:
        _print_refused(refused, f"since {hour_of(since):%Y-%m-%d %H:%M}" if since else "in the last seven days")
    elif refused:
        count = sum(each.count for each in refused)
        text_console().print(f"Refused at the door: {count:,}. See them with: --state refused")


async def _show(event_id: str, *, as_json: bool) -> None:
    async with billing() as room:
        story = await room.event_story(event_id)
    if as_json:
        print_json(_told(story))
        return
    _print_story(story)


async def _dismiss(event_ids: list[str], reason: str, *, as_json: bool) -> None:
    async with billing() as room:
        done = await room.dismiss_events(event_ids, reason)
    if as_json:
        print_json({"events": [_plain(event) for event in done]})
    else:
        _print(done)


async def _replay(event_ids: list[str], *, parked: bool, as_json: bool) -> int:
    if parked == bool(event_ids):
        raise InvalidInput(
            "Name the events to be worked again, or say --parked for all that are. Nothing was changed."
        )
    async with billing() as room:
        done = await (room.replay_parked_events() if parked else room.replay_events(event_ids))
    if as_json:
        print_json({"events": [_plain(event) for event in done]})
    elif done:
        _print(done)
    else:
        text_console().print("No event is parked.")
    return EXIT_REFUSED if any(event.last_error for event in done) else 0


def _print(events: list[StoredEvent]) -> None:
    table = Table()
    for name in ("event", "type", "state", "tries", "account", "received (UTC)", "last error"):
        table.add_column(name, justify="right" if name == "tries" else "left")
    for event in events:
        table.add_row(
            event.id,
            event.type,
            event.status,
            str(event.attempts),
            event.account_id or "",
            f"{event.received_at:%Y-%m-%d %H:%M:%S}",
            event.last_error or "",
        )
    print_table(table)


def _print_refused(refused: list[Refused], when: str) -> None:
    table = Table(
        title=f"Refused at the door {when}, counted by the hour; only signed ones are listed above",
        title_justify="left",
    )
    for name in ("reason", "how often", "last (UTC)", "what it means"):
        table.add_column(name, justify="right" if name == "how often" else "left")
    for each in refused:
        table.add_row(each.reason, f"{each.count:,}", f"{each.last_at:%Y-%m-%d %H:%M:%S}", each.meaning)
    print_table(table)


def _print_story(story: EventStory) -> None:
    console = text_console()
    table = Table("", "", title=f"Event {story.event.id}", title_justify="left", show_header=False)
    for name, value in _facts(story):
        if value:
            table.add_row(name, str(value))
    print_table(table)
    if story.entries:
        console.print(f"In the ledger of {story.event.account_id}, newest first:")
    for entry in story.entries:
        what = entry.kind.replace("_", " ")
        console.print(
            f"  {entry.seq}. {entry.effective_at:%Y-%m-%d %H:%M:%S} {what} {entry.amount:+,}: {entry.reason}"
        )
    console.print("What Stripe sent:")
    console.print(json.dumps(json.loads(story.payload), indent=2), soft_wrap=True)


def _facts(story: EventStory) -> list[tuple[str, Any]]:
    event, purchase = story.event, story.purchase
    return [
        ("type", event.type),
        ("about", story.object_id),
        ("tells the same as", event.snapshot_event),
        ("API version", event.api_version),
        ("received", event.received_at),
        ("state", event.status),
        ("tries", event.attempts),
        ("last error", event.last_error),
        ("tried again at", event.due_at),
        ("finished", event.finished_at),
        ("account", event.account_id),
        ("purchase", purchase and f"{purchase.id}, {purchase.status}, {purchase.credits:,} for {purchase.comes_to}"),
    ]


def _plain(of: StoredEvent | Refused) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(of).items()}


def _told(story: EventStory) -> dict[str, Any]:
    return {
        **_plain(story.event),
        "about": story.object_id,
        "purchase_status": None if story.purchase is None else story.purchase.status,
        "entries": [
            {
                "seq": entry.seq,
                "kind": entry.kind,
                "amount": entry.amount,
                "reason": entry.reason,
                "effective_at": entry.effective_at.isoformat(),
            }
            for entry in story.entries
        ],
        "payload": json.loads(story.payload),
    }

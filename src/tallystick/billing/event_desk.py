"""An operator's desk for events: what followed from one, working it again, and letting it rest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.billing.errors import UnknownEvent
from tallystick.billing.event_records import EventRecords, StoredEvent
from tallystick.billing.event_shapes import object_id
from tallystick.billing.inbox import Inbox
from tallystick.billing.inbox_table import EventStatus
from tallystick.billing.purchases import Purchase, Purchases
from tallystick.billing.stripe_api import BillingSettings
from tallystick.billing.webhooks import not_ours
from tallystick.domain.account import Entry
from tallystick.domain.commands import require_text
from tallystick.domain.errors import InvalidInput
from tallystick.ledger import Ledger

LOOKED_THROUGH = 1_000
"""Among how many of an account's latest entries those are looked for that an event led to."""

PAGE = 200


@dataclass(frozen=True, slots=True)
class EventStory:
    """One event: as it came, what it is about, and what the ledger says of that, newest first.

    Other events about the same thing lead to the same entries: which of them came first makes no difference (S27).
    """

    event: StoredEvent
    payload: str
    object_id: str | None
    purchase: Purchase | None
    entries: tuple[Entry, ...]


class EventDesk:
    """Looks into the inbox, and works events again."""

    def __init__(
        self, settings: BillingSettings, records: EventRecords, inbox: Inbox, purchases: Purchases, ledger: Ledger
    ) -> None:
        self._settings = settings
        self._records = records
        self._inbox = inbox
        self._purchases = purchases
        self._ledger = ledger

    async def story(self, event_id: str) -> EventStory:
        """One event and what followed from it. Raises UnknownEvent."""
        (event,) = await self._known([event_id])
        payload = await self._records.payload(event.id)
        about = object_id(json.loads(payload))
        purchase = None if event.purchase_id is None else await self._purchases.get(event.purchase_id)
        entries = await self._entries(event.account_id, {about, event.purchase_id} - {None})
        return EventStory(event, payload, about, purchase, entries)

    async def replay(self, event_ids: Sequence[str]) -> list[StoredEvent]:
        """Work events again, through the same idempotent functions; answers what came out, in the order asked.

        Safe at any time, also while they are being worked. One that nobody acts on stays as it is, and so does one
        that was refused, unless the settings have changed and it is ours now. One that fails again is tried again
        by itself, and parked after as many tries as a new one. Raises UnknownEvent before any is worked.
        """
        wanted = list(dict.fromkeys(event_ids))
        found = await self._known(wanted)
        await self._inbox.replay([event.id for event in found if await self._is_ours(event)])
        return await self._known(wanted)

    async def replay_parked(self) -> list[StoredEvent]:
        """Work all parked events again; answers what came out, oldest first."""
        return await self.replay(await self._records.ids_of(EventStatus.PARKED))

    async def dismiss(self, event_ids: Sequence[str], reason: str) -> list[StoredEvent]:
        """Let parked events rest, because a person has done what they are about in another way, and says how.

        Answers them as they are then, in the order asked. They can still be replayed. Raises UnknownEvent, and
        InvalidInput without a reason or for one that is not parked; then nothing was changed.
        """
        require_text(reason, "reason")
        if not reason.strip():
            raise InvalidInput("Give a reason: it is what is kept of this. Nothing was changed.")
        wanted = list(dict.fromkeys(event_ids))
        others = [event for event in await self._known(wanted) if event.status is not EventStatus.PARKED]
        if others:
            states = ", ".join(f"{event.id} is {event.status}" for event in others)
            raise InvalidInput(f"Only what is parked can be dismissed: {states}. Nothing was changed.")
        await self._inbox.dismiss(wanted, reason)
        return await self._known(wanted)

    async def _is_ours(self, event: StoredEvent) -> bool:
        if event.status is not EventStatus.REFUSED:
            return True
        return not_ours(json.loads(await self._records.payload(event.id)), self._settings) is None

    async def _known(self, ids: Sequence[str]) -> list[StoredEvent]:
        found = await self._records.of(ids)
        unknown = [id for id in ids if id not in found]
        if unknown:
            raise UnknownEvent(unknown)
        return [found[id] for id in ids]

    async def _entries(self, account_id: str | None, references: set[str | None]) -> tuple[Entry, ...]:
        found: list[Entry] = []
        before = None
        for _ in range(0, LOOKED_THROUGH if account_id else 0, PAGE):
            page = await self._ledger.entries(account_id or "", before=before, limit=PAGE)
            found += [entry for entry in page if entry.reference in references]
            if len(page) < PAGE:
                break
            before = page[-1].seq
        return tuple(found)

"""One batch of commands, decided together. Pure: the stores load what it needs and write what it says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tallystick.domain.account import Account, Entry
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import ClawBack, Command, Reverse, Settle
from tallystick.domain.decide import decide
from tallystick.domain.errors import IdempotencyConflict, Refusal
from tallystick.domain.frozen import cheaply_made
from tallystick.domain.taking_back import NO_PAST, Past
from tallystick.ledger.codec import unpack


@cheaply_made
@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an accepted command: the entry that carries its key.

    `replayed` is True when the key was used before for the same request: then this is the first answer
    again (S7).
    """

    entry: Entry
    replayed: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a Settle: so many entries say what time had done."""

    entries: int


Answer = Receipt | Settled
Outcome = Answer | Exception
Key = tuple[str, str]
"""An account's id and an idempotency key."""

Number = tuple[str, int]
"""An account's id and the number of one of its entries."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch came to: an outcome for each command in order, and what has to be written."""

    outcomes: list[Outcome]
    accounts: list[Account]
    entries: list[Entry]


def account_ids(commands: Sequence[Command]) -> list[str]:
    """The accounts a batch touches, sorted: locks are always taken in this order."""
    return sorted({command.account_id for command in commands})


def keys(commands: Sequence[Command]) -> list[Key]:
    """The idempotency keys that have to be looked up before a batch can be decided."""
    return [(c.account_id, c.key) for c in commands if not isinstance(c, Settle)]


def in_archive(commands: Sequence[Command], accounts: Iterable[Account]) -> list[Key]:
    """The keys that have to be looked up in the archive too: those of accounts that have one."""
    archived = {account.id for account in accounts if account.archived}
    return [key for key in keys(commands) if key[0] in archived] if archived else []


def unpacked(wanted: Sequence[Key], packed: Iterable[bytes]) -> dict[Key, Entry]:
    """The entries of `wanted` keys among those that were `packed`."""
    entries = {(e.account_id, e.key): e for parcel in packed for e in unpack(parcel)}
    return {key: entries[key] for key in wanted if key in entries}


def named(commands: Sequence[Command]) -> list[Number]:
    """The entries that commands name, which have to be looked up too."""
    found = [(c.account_id, c.entry) for c in commands if isinstance(c, Reverse)]
    return found + [(c.account_id, c.grant) for c in commands if isinstance(c, ClawBack)]


def origins(entries: Sequence[Entry]) -> list[Number]:
    """The entries that made the grants which the named `entries` drew from."""
    return sorted({(entry.account_id, lot.grant_id) for entry in entries for lot in entry.lots})


@dataclass(frozen=True, slots=True)
class History:
    """Entries that a batch's commands refer to, by number, and which spends were reversed before by which."""

    entries: Mapping[Number, Entry]
    reversals: Mapping[Number, int]


NO_HISTORY = History({}, {})


def decide_batch(
    commands: Sequence[Command],
    accounts: Mapping[str, Account],
    known: Mapping[Key, Entry],
    history: History,
    now: datetime,
    catalogue: Catalogue,
) -> Batch:
    """Decide `commands` in order of arrival, each on the account as the ones before it left it (S9).

    `accounts` are those that exist, `known` the entries whose keys were used before, `history` what
    commands refer to. A refused command leaves no trace and does not touch the others (S8); nor does one at
    which the rules themselves fail, whose outcome is that failure.
    """
    states = dict(accounts)
    reversals = dict(history.reversals)
    answered = dict(known)
    changed: dict[str, Account] = {}
    outcomes: list[Outcome] = []
    entries: list[Entry] = []
    for command in commands:
        if not isinstance(command, Settle):
            first = answered.get((command.account_id, command.key))
            if first is not None:
                same = first.request == command.request
                outcomes.append(
                    Receipt(first, replayed=True) if same else IdempotencyConflict(command.account_id, command.key)
                )
                continue
        past = NO_PAST
        if isinstance(command, (Reverse, ClawBack)):
            past = _past(command, history.entries, reversals)
        try:
            decision = decide(states.get(command.account_id), command, now, catalogue, past)
        except Exception as fault:
            outcomes.append(fault)
            continue
        if isinstance(decision, Refusal):
            outcomes.append(decision)
            continue
        answer: Answer = Settled(len(decision.entries))
        for entry in decision.entries:
            if entry.key is not None:
                answered[(entry.account_id, entry.key)] = entry
                answer = Receipt(entry, replayed=False)
            if entry.reverses is not None:
                reversals[(entry.account_id, entry.reverses)] = entry.seq
        if decision.entries:
            states[command.account_id] = changed[command.account_id] = decision.account
            entries.extend(decision.entries)
        outcomes.append(answer)
    return Batch(outcomes, list(changed.values()), entries)


def _past(command: Reverse | ClawBack, entries: Mapping[Number, Entry], reversals: Mapping[Number, int]) -> Past:
    id = command.account_id
    if isinstance(command, ClawBack):
        made = entries.get((id, command.grant))
        return NO_PAST if made is None else Past(origins={made.seq: made})
    entry = entries.get((id, command.entry))
    if entry is None:
        return NO_PAST
    return Past(
        entry=entry,
        reversed_by=reversals.get((id, command.entry)),
        origins={lot.grant_id: entries[(id, lot.grant_id)] for lot in entry.lots},
    )

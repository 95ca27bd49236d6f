"""One batch of commands, decided together. Pure: the stores load what it needs and write what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tallystick.domain.account import Account, Entry
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Command, Settle
from tallystick.domain.decide import decide
from tallystick.domain.errors import IdempotencyConflict, Refusal


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
Outcome = Answer | Refusal
Key = tuple[str, str]
"""An account's id and an idempotency key."""


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


def decide_batch(
    commands: Sequence[Command],
    accounts: Mapping[str, Account],
    known: Mapping[Key, Entry],
    now: datetime,
    catalogue: Catalogue,
) -> Batch:
    """Decide `commands` in order of arrival, each on the account as the ones before it left it (S9).

    `accounts` are those that exist, `known` the entries whose keys were used before. A refused command
    leaves no trace and does not touch the others (S8).
    """
    states = dict(accounts)
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
        decision = decide(states.get(command.account_id), command, now, catalogue)
        if isinstance(decision, Refusal):
            outcomes.append(decision)
            continue
        answer: Answer = Settled(len(decision.entries))
        for entry in decision.entries:
            if entry.key is not None:
                answered[(entry.account_id, entry.key)] = entry
                answer = Receipt(entry, replayed=False)
        if decision.entries:
            states[command.account_id] = changed[command.account_id] = decision.account
            entries.extend(decision.entries)
        outcomes.append(answer)
    return Batch(outcomes, list(changed.values()), entries)

"""Proof of a ledger: replaying an account's entries from nothing yields its state (S5).

Knows only entries; comparing with what a database holds is the ledger's business.
"""

from collections.abc import Iterable

from tallystick.domain.account import Account, Entry
from tallystick.domain.errors import TallystickError
from tallystick.domain.record import blank, record

_DERIVED = ("seq", "amount", "monthly", "bonus", "held", "debt", "owed")


class LedgerMismatch(TallystickError):
    """An entry does not follow from the entries before it, or what is written cannot be read at all."""

    code = "ledger_mismatch"


class Replay:
    """The replay of one account, entry by entry, so that a long history needs no room.

    `account` is the state that the entries so far lead to; its `seq` is how many there were. A replay may
    start from a state that was proven before.
    """

    def __init__(self, account_id: str, proven: Account | None = None) -> None:
        self.account = blank(account_id) if proven is None else proven

    def step(self, entry: Entry) -> None:
        """Go on with the next entry. Raises LedgerMismatch when it does not follow.

        Every number an entry carries besides its facts (its own, the amount, the balances after it) is
        computed again and compared.
        """
        account_id = self.account.id
        if entry.account_id != account_id:
            raise LedgerMismatch(f"An entry of account {entry.account_id} is among those of {account_id}.")
        try:
            account, proven = record(
                self.account,
                entry.kind,
                effective_at=entry.effective_at,
                recorded_at=entry.recorded_at,
                key=entry.key,
                request=entry.request,
                lots=entry.lots,
                grant=entry.grant,
                plan=entry.plan,
                allowance=entry.allowance,
                reason=entry.reason,
                reference=entry.reference,
                hold=entry.hold,
                hold_until=entry.hold_until,
                reverses=entry.reverses,
                reopened=entry.reopened,
                lapsed=entry.lapsed,
                clawback=entry.clawback,
                checkpoint=entry.checkpoint,
            )
        except ValueError as error:
            raise LedgerMismatch(f"Account {account_id}, entry {entry.seq}: {error}.") from error
        except (TypeError, AttributeError, LookupError) as error:
            # Its row can be read, and yet say a text where a number belongs.
            raise LedgerMismatch(
                f"Account {account_id}, entry {entry.seq}: it cannot be replayed ({error!r:.120})."
            ) from error
        if proven == entry:
            self.account = account
            return
        wrong = [
            f"{name} is {getattr(entry, name)} and should be {getattr(proven, name)}"
            for name in _DERIVED
            if getattr(entry, name) != getattr(proven, name)
        ]
        raise LedgerMismatch(f"Account {account_id}, entry {entry.seq}: {'; '.join(wrong)}.")


def replay(account_id: str, entries: Iterable[Entry], proven: Account | None = None) -> Account:
    """The state that `entries`, in order, lead to, from nothing or from a `proven` one.

    Raises LedgerMismatch at the first that does not follow.
    """
    replaying = Replay(account_id, proven)
    for entry in entries:
        replaying.step(entry)
    return replaying.account

"""Proof of a whole ledger: replay every account's entries and compare with its row (S5, S6).

Works over a running system: an account and its entries are read as of one instant.
"""

from dataclasses import dataclass, fields

from tallystick.domain.account import Account
from tallystick.domain.commands import require_identifier
from tallystick.domain.errors import UnknownAccount
from tallystick.domain.replay import LedgerMismatch
from tallystick.ledger.ledger import Ledger

PAGE = 500


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and every difference found, each as one readable sentence."""

    accounts: int
    entries: int
    differences: list[str]


async def verify(ledger: Ledger, account_id: str | None = None, *, only_new: bool = False) -> Verification:
    """Prove one account, or all of them when `account_id` is None.

    `only_new` goes on from the last proof of each account instead of from its first entry: enough as long as
    nobody could change what was written before. Raises UnknownAccount, and InvalidInput for an `account_id` that no account can have.
    """
    if account_id is not None:
        require_identifier(account_id, "account id")
    accounts = entries = 0
    differences: list[str] = []
    after = ""
    ids = [account_id] if account_id is not None else await ledger.store.account_ids(after, PAGE)
    while ids:
        for id in ids:
            try:
                proof = await ledger.store.prove(id, only_new=only_new)
            except LedgerMismatch as mismatch:
                accounts += 1
                differences.append(mismatch.message)
                continue
            if proof is None:
                if account_id is not None and not await ledger.store.entries(id, None, 1):
                    raise UnknownAccount(id)
                differences.append(f"Account {id} has no row in accounts.")
                continue
            accounts += 1
            entries += proof.replayed
            wrong = differences_between(proof.written, proof.proven)
            differences.extend(wrong)
            if proof.replayed and not wrong:
                await ledger.store.keep_proof(proof.proven)
        if account_id is not None:
            break
        ids = await ledger.store.account_ids(ids[-1], PAGE)
    return Verification(accounts, entries, differences)


def differences_between(account: Account, proven: Account) -> list[str]:
    """What an account's row says otherwise than its entries, each as one readable sentence."""
    return [
        f"Account {account.id}: {field.name} is {getattr(account, field.name)}, "
        f"its entries say {getattr(proven, field.name)}."
        for field in fields(Account)
        if field.compare and getattr(account, field.name) != getattr(proven, field.name)
    ]

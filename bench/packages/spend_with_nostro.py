"""hf-nostro under load, in its own environment: DATABASE_URL ACCOUNTS COUNT. Prints debits a second."""

import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from nostro import AccountKey, Ledger
from psycopg_pool import ConnectionPool

THREADS = 32


def main(url: str, accounts: int, count: int) -> None:
    """Fill the accounts, then debit from 32 threads, over accounts in a fixed scattered order."""
    with ConnectionPool(url, min_size=THREADS, max_size=THREADS) as pool:
        ledger = Ledger(pool=pool, scale=0)
        one, plenty = ledger.amount(1), ledger.amount(1_000_000_000)
        keys = [AccountKey("bench", f"acc{n}") for n in range(accounts)]
        with ThreadPoolExecutor(THREADS) as threads:

            def fill(key: AccountKey) -> None:
                ledger.accounts.get_or_create(key.tenant_id, key.scope_ref)
                ledger.credit(key, plenty, category="topup", idempotency_key="fill")

            list(threads.map(fill, keys))
            run = str(time.time_ns())
            todo = itertools.count()

            def call(_thread: int) -> None:
                while (n := next(todo)) < count:
                    ledger.debit(keys[n * 7_919 % accounts], one, category="bench", idempotency_key=f"{run}-{n}")

            start = time.perf_counter()
            list(threads.map(call, range(THREADS)))
            print(count / (time.perf_counter() - start))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

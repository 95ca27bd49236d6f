"""credit-ledger under load, in its own environment: DATABASE_URL ACCOUNTS COUNT. Prints charges a second.

Its schema file is not part of the package, so the two tables are made here from the columns its statements name.
"""

import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from credit_ledger import metering
from sqlalchemy import create_engine, text

THREADS = 32
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS credit_balance (tenant_id text PRIMARY KEY, credits numeric(18,4) NOT NULL, "
    "updated_at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE IF NOT EXISTS credit_ledger (id uuid PRIMARY KEY, tenant_id text NOT NULL, "
    "delta numeric(18,4) NOT NULL, reason text, idempotency_key text, balance_after numeric(18,4), "
    "created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (tenant_id, idempotency_key))",
)


def main(url: str, accounts: int, count: int) -> None:
    """Fill the accounts, then charge from 32 threads, over accounts in a fixed scattered order."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_size=THREADS)
    with engine.begin() as connection:
        for statement in SCHEMA:
            connection.execute(text(statement))
        fill = "INSERT INTO credit_balance SELECT 'acc' || n, 1000000000 FROM generate_series(0, :last) AS n ON CONFLICT DO NOTHING"
        connection.execute(text(fill), {"last": accounts - 1})
    run = str(time.time_ns())
    todo = itertools.count()

    def call(_thread: int) -> None:
        while (n := next(todo)) < count:
            key = f"{run}-{n}"
            charge = metering.decrement(f"acc{n * 7_919 % accounts}", 1, idempotency_key=key, engine=engine)
            assert charge.ok

    with ThreadPoolExecutor(THREADS) as threads:
        start = time.perf_counter()
        list(threads.map(call, range(THREADS)))
        print(count / (time.perf_counter() - start))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

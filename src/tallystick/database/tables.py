"""Every table, once, for both databases. Migrations are checked against this module.

Ledger tables (LEDGER_TABLES) are written by the ledger's stores alone. Their keys begin with the
account, so that they can be spread over shards by account; no sequence is shared between accounts.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "ix": "%(table_name)s_%(column_0_N_name)s_ix",
        "uq": "%(table_name)s_%(column_0_N_name)s_uq",
        "ck": "%(table_name)s_%(constraint_name)s_ck",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
    }
)


class Instant(TypeDecorator[datetime]):
    """A UTC instant to the microsecond: `timestamptz` on PostgreSQL, ISO 8601 text that sorts on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.isoformat(timespec="microseconds") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return datetime.fromisoformat(value) if dialect.name == "sqlite" else value.astimezone(UTC)


Id = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""An account's id or an idempotency key: visible ASCII characters, which sort by their codes in every language."""

Credits = BigInteger
"""Credits go to 10^12 in one operation (S1), which 32 bits do not hold."""

accounts = Table(
    "accounts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("allowance_remaining", Credits, nullable=False, server_default=text("0")),
    Column("bonus_credits", Credits, nullable=False, server_default=text("0")),
    Column("held", Credits, nullable=False, server_default=text("0")),
    Column("debt", Credits, nullable=False, server_default=text("0")),
    # The next instant at which time alone changes the account; null when it never will.
    Column("due_at", Instant, nullable=True),
    # Allowance, open and scheduled grants, holds and debts, in the ledger codec's compact JSON.
    Column("state", Text, nullable=False),
    CheckConstraint("allowance_remaining >= 0", name="allowance_not_negative"),
    CheckConstraint("bonus_credits >= 0", name="bonus_not_negative"),
    CheckConstraint("held >= 0 AND held <= allowance_remaining + bonus_credits", name="held_within_balance"),
    CheckConstraint("debt >= 0", name="debt_not_negative"),
    Index(None, "due_at"),
)

entries = Table(
    "entries",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("amount", Credits, nullable=False),
    Column("monthly", Credits, nullable=False),
    Column("bonus", Credits, nullable=False),
    Column("held", Credits, nullable=False),
    Column("debt", Credits, nullable=False),
    Column("effective_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("key", Id, nullable=True),
    Column("request", Text, nullable=True),
    # The number of the spend that this entry reverses; each is reversed once.
    Column("reverses", BigInteger, nullable=True),
    # What else the entry says, in the ledger codec's JSON.
    Column("detail", JSON, nullable=False),
    CheckConstraint("seq >= 1", name="numbered_from_one"),
    CheckConstraint(
        "monthly >= 0 AND bonus >= 0 AND held >= 0 AND debt >= 0 AND held <= monthly + bonus",
        name="balances_not_negative",
    ),
    Index("entries_account_id_key_uq", "account_id", "key", unique=True),
    Index(
        "entries_account_id_reverses_uq",
        "account_id",
        "reverses",
        unique=True,
        postgresql_where=text("reverses IS NOT NULL"),
        sqlite_where=text("reverses IS NOT NULL"),
    ),
)

proofs = Table(
    "proofs",
    metadata,
    Column("account_id", Id, primary_key=True),
    # The number of the last entry that was replayed, and the account it led to, in the ledger codec's JSON.
    Column("seq", BigInteger, nullable=False),
    Column("account", Text, nullable=False),
)

# What stands for entries that went to the archive: the number of the checkpoint entry, and up to where it counts.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("up_to", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    # The entries that left with it, all of them in one: a key that comes again gets its first answer (S7).
    Column("packed", LargeBinary, nullable=False),
)

# The idempotency keys of entries that went to the archive, each as a number that is looked up quickly. Two keys
# may have the same one; what they are stands in `packed`.
archived_keys = Table(
    "archived_keys",
    metadata,
    Column("account_id", Id, primary_key=True),
    Column("digest", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
)

LEDGER_TABLES = (accounts, entries, proofs, checkpoints, archived_keys)

customers = Table(
    "customers",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("stripe_customer_id", Text, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    # What the application gave last. At Stripe it may have been changed since, and stays as it is there.
    Column("email", Text, nullable=True),
)

# Customers of Stripe that belong to an account besides the one that its checkouts use: former ones, doubles.
other_customers = Table(
    "other_customers",
    metadata,
    Column("stripe_customer_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False, index=True),
)

purchases = Table(
    "purchases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("pack_id", Text, nullable=False),
    Column("credits", Credits, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("stripe_price", Text, nullable=False),
    # How many packs it comes to; until it is paid the buyer may choose up to `max_quantity` at Stripe.
    Column("quantity", Integer, nullable=False),
    Column("max_quantity", Integer, nullable=False, server_default=text("1")),
    Column("promotion_codes", Boolean, nullable=False, server_default=text("false")),
    Column("status", Text, nullable=False),
    Column("checkout_session_id", Text, nullable=True, unique=True),
    Column("checkout_url", Text, nullable=True),
    # Where a checkout that has expired can be taken up again.
    Column("recovery_url", Text, nullable=True),
    Column("payment_intent_id", Text, nullable=True),
    # What was paid for it, after discount and with tax; null until it is.
    Column("paid_minor", BigInteger, nullable=True),
    # Why it needs review, or why it failed; null when all is well.
    Column("problem", Text, nullable=True),
    # The number of the entry that credited it, in the account's ledger.
    Column("entry_seq", BigInteger, nullable=True),
    # What was seen of its payment after that: money given back, credits taken back, a dispute or a warning.
    Column("refunded_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("clawed_back", Credits, nullable=False, server_default=text("0")),
    Column("dispute", Text, nullable=True),
    # Looks at its payment are numbered: so many were begun, and none above the other number was finished.
    Column("looks", BigInteger, nullable=False, server_default=text("0")),
    Column("looks_done", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "account_id", "created_at"),
    Index(None, "status", "updated_at"),
    Index(None, "payment_intent_id"),
    Index(None, "created_at"),
    Index(
        "purchases_disputed_ix",
        "created_at",
        postgresql_where=text("dispute IS NOT NULL"),
        sqlite_where=text("dispute IS NOT NULL"),
    ),
)

refunds = Table(
    "refunds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("purchase_id", Text, ForeignKey("purchases.id"), nullable=False),
    # What the caller calls it, once per purchase: asking again does not refund again.
    Column("key", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("stripe_refund_id", Text, nullable=True),
    Column("problem", Text, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index("refunds_purchase_id_key_uq", "purchase_id", "key", unique=True),
    Index(None, "status"),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=True),
    Column("applied", Boolean, nullable=False),
    # How far it has come, and what it has found so far, as JSON.
    Column("phase", Text, nullable=False),
    Column("cursor", Text, nullable=True),
    Column("report", Text, nullable=False),
    Index(None, "started_at"),
)

reconciliation_subjects = Table(
    "reconciliation_subjects",
    metadata,
    # Checkout sessions and payment intents that a walk under way has looked at; gone when it is done.
    Column("reconciliation_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False, index=True),
    Column("plan", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("cancel_at_period_end", Boolean, nullable=False),
    Column("period_end", Instant, nullable=True),
    Column("updated_at", Instant, nullable=False),
    Column("stripe_customer_id", Text, nullable=True, index=True),
    Column("stripe_price", Text, nullable=True),
    Column("started_at", Instant, nullable=True),
    # When it ends, if that has been decided already.
    Column("ends_at", Instant, nullable=True),
    Column("trial_end", Instant, nullable=True),
    Column("collection_paused", Boolean, nullable=False, server_default=text("false")),
    # What it becomes and from when, if that has been decided already: a plan, at a price of Stripe.
    Column("changes_at", Instant, nullable=True),
    Column("next_plan", Text, nullable=True),
    Column("next_price", Text, nullable=True),
)

account_leases = Table(
    "account_leases",
    metadata,
    # Who brings an account to its subscriptions has it alone until then; the number of the lease only ever goes up.
    Column("account_id", Text, primary_key=True),
    Column("lease", BigInteger, nullable=False),
    Column("until", Instant, nullable=False),
)

subscription_turns = Table(
    "subscription_turns",
    metadata,
    # When a subscription began to rest, or went on, as an event of Stripe told it; kept whoever's it is.
    Column("subscription_id", Text, primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("rests", Boolean, primary_key=True),
)

stripe_events = Table(
    "stripe_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("api_version", Text, nullable=True),
    Column("payload", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("status", Text, nullable=False),
    # How often it was tried since it came, or was last replayed.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # The number of the latest lease on it. It only ever goes up.
    Column("lease", BigInteger, nullable=False, server_default=text("0")),
    # When it may be worked next, which is also when a lease on it runs out; null when it is finished.
    Column("due_at", Instant, nullable=True),
    Column("last_error", Text, nullable=True),
    Column("finished_at", Instant, nullable=True),
    # Whom and what it was found to be about.
    Column("account_id", Text, nullable=True),
    Column("purchase_id", Text, nullable=True),
    # Of a thin event: the snapshot event that tells the same.
    Column("snapshot_event", Text, nullable=True),
    Index(None, "due_at"),
    Index(None, "status", "received_at"),
    Index(None, "snapshot_event"),
)

refusals = Table(
    "refusals",
    metadata,
    # Webhooks and return visits that were refused: how many for each reason in each hour, and the last of them.
    Column("hour", Instant, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_at", Instant, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("account_id", Text, nullable=False, unique=True),
    Column("is_operator", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", Instant, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    # SHA-256 of the cookie: whoever reads this table cannot sign in with what is in it.
    Column("token_hash", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # The secret's first characters, to recognise it by; of the rest only the SHA-256 is kept.
    Column("prefix", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_used_at", Instant, nullable=True),
    Column("revoked_at", Instant, nullable=True),
)

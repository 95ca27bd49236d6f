"""The first schema: the ledger, purchases, subscriptions, the inbox, users and their sessions."""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_REFUSAL = "entries are append-only: no entry is ever changed or deleted"


def upgrade() -> None:
    _create_tables()
    if op.get_context().dialect.name == "postgresql":
        _forbid_changes_on_postgresql()
    else:
        _forbid_changes_on_sqlite()


def _forbid_changes_on_postgresql() -> None:
    op.execute(
        f"""
        CREATE FUNCTION tallystick_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON entries
        FOR EACH ROW EXECUTE FUNCTION tallystick_refuse_change()
        """
    )
    op.execute(
        """
        CREATE TRIGGER entries_no_truncate BEFORE TRUNCATE ON entries
        FOR EACH STATEMENT EXECUTE FUNCTION tallystick_refuse_change()
        """
    )


def _forbid_changes_on_sqlite() -> None:
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"""
            CREATE TRIGGER entries_no_{change.lower()} BEFORE {change} ON entries
            BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END
            """
        )


def _create_tables() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("allowance_remaining", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bonus_credits", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("held", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("debt", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", tables.Instant(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.CheckConstraint("allowance_remaining >= 0", name=op.f("accounts_allowance_not_negative_ck")),
        sa.CheckConstraint("bonus_credits >= 0", name=op.f("accounts_bonus_not_negative_ck")),
        sa.CheckConstraint("debt >= 0", name=op.f("accounts_debt_not_negative_ck")),
        sa.CheckConstraint(
            "held >= 0 AND held <= allowance_remaining + bonus_credits",
            name=op.f("accounts_held_within_balance_ck"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("accounts_pk")),
    )
    op.create_index(op.f("accounts_due_at_ix"), "accounts", ["due_at"], unique=False)
    op.create_table(
        "customers",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("stripe_customer_id", sa.Text(), nullable=False),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("customers_pk")),
        sa.UniqueConstraint("stripe_customer_id", name=op.f("customers_stripe_customer_id_uq")),
    )
    op.create_table(
        "entries",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("monthly", sa.BigInteger(), nullable=False),
        sa.Column("bonus", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("debt", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", tables.Instant(), nullable=False),
        sa.Column("recorded_at", tables.Instant(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "monthly >= 0 AND bonus >= 0 AND held >= 0 AND debt >= 0 AND held <= monthly + bonus",
            name=op.f("entries_balances_not_negative_ck"),
        ),
        sa.CheckConstraint("seq >= 1", name=op.f("entries_numbered_from_one_ck")),
        sa.PrimaryKeyConstraint("account_id", "seq", name=op.f("entries_pk")),
    )
    op.create_index("entries_account_id_key_uq", "entries", ["account_id", "key"], unique=True)
    op.create_table(
        "purchases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("pack_id", sa.Text(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("stripe_price", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("checkout_session_id", sa.Text(), nullable=True),
        sa.Column("checkout_url", sa.Text(), nullable=True),
        sa.Column("payment_intent_id", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("entry_seq", sa.BigInteger(), nullable=True),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.Column("updated_at", tables.Instant(), nullable=False),
        sa.Column("expires_at", tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("purchases_pk")),
        sa.UniqueConstraint("checkout_session_id", name=op.f("purchases_checkout_session_id_uq")),
    )
    op.create_index(
        op.f("purchases_account_id_created_at_ix"), "purchases", ["account_id", "created_at"], unique=False
    )
    op.create_index(op.f("purchases_status_updated_at_ix"), "purchases", ["status", "updated_at"], unique=False)
    op.create_table(
        "stripe_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("api_version", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("received_at", tables.Instant(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", tables.Instant(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("finished_at", tables.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("stripe_events_pk")),
    )
    op.create_index(op.f("stripe_events_due_at_ix"), "stripe_events", ["due_at"], unique=False)
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("period_end", tables.Instant(), nullable=True),
        sa.Column("updated_at", tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("subscriptions_pk")),
    )
    op.create_index(op.f("subscriptions_account_id_ix"), "subscriptions", ["account_id"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("is_operator", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pk")),
        sa.UniqueConstraint("account_id", name=op.f("users_account_id_uq")),
        sa.UniqueConstraint("email", name=op.f("users_email_uq")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.Column("expires_at", tables.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fk"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("sessions_pk")),
    )
    op.create_index(op.f("sessions_user_id_ix"), "sessions", ["user_id"], unique=False)

"""What `tallystick` exports: among it every error that a caller of the library can meet, each told in the docs."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tallystick
from tallystick import TallystickError

EMBEDDING = Path(__file__).parents[1] / "docs" / "embedding.md"

NOT_MET = {
    # An account that is open already stays as it is.
    "AccountExists",
    # Refusals of commands that only billing gives, or only the archive.
    "AlreadyArchived",
    "ClawbackSuperseded",
    "NotABonusGrant",
    # An event of Stripe that is parked for it.
    "NeedsOperator",
    # What an operator asks for at the shell, or on the operator's page.
    "ArchiveUnreadable",
    "ArchiveUnwritable",
    "CitusMissing",
    "DistributionFailed",
    "LedgerMismatch",
    "ReconciliationUnderWay",
    "SetupStopped",
    "SubscriptionNotLost",
    "UnknownApiKey",
    "UnknownEvent",
    "UnknownSubscription",
    # Keys of back ends that use the HTTP API.
    "InvalidApiKey",
    "MissingScope",
    # Caught as EntryArchived.
    "BalancesArchived",
    # Why a webhook was refused. They are caught as WebhookRefused.
    "NotAnEvent",
    "SignatureInvalid",
    "SignatureMissing",
    "SignatureStale",
    "WebhookNotConfigured",
}
"""The errors that no method of Tallystick, of its billing or of a hold raises."""

ABOVE_THE_TABLE = {"Refusal", "TallystickError"}


def library() -> list[str]:
    """The modules that a host application calls: neither the web room nor the shell."""
    found = [module.name for module in pkgutil.walk_packages(tallystick.__path__, "tallystick.")]
    return [name for name in found if not re.match(r"tallystick\.(web|cli|testing|database\.migrations)\b", name)]


def errors(base: type[TallystickError] = TallystickError) -> set[type[TallystickError]]:
    return {base}.union(*(errors(kind) for kind in base.__subclasses__()))


def exported() -> set[str]:
    named = {name: getattr(tallystick, name) for name in tallystick.__all__}
    return {name for name, made in named.items() if isinstance(made, type) and issubclass(made, TallystickError)}


def test_every_error_that_a_caller_can_meet_is_exported_and_no_other() -> None:
    names = library()
    for name in names:
        importlib.import_module(name)
    known = {kind.__name__ for kind in errors() if kind.__module__ in names}
    assert known >= NOT_MET
    assert exported() == known - NOT_MET


def test_every_exported_error_is_in_the_table_of_what_is_raised() -> None:
    section = EMBEDDING.read_text().partition("## What it raises")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == exported() - ABOVE_THE_TABLE
    assert all(f"`{name}`" in section for name in ABOVE_THE_TABLE)


@pytest.mark.parametrize("name", ["TooManyHolds", "InsufficientCredits"])
def test_an_error_of_the_rules_is_imported_without_database_drivers_and_stripe(name: str) -> None:
    code = (
        f"import sys; from tallystick import {name}; print({{'asyncpg', 'sqlalchemy', 'stripe'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"

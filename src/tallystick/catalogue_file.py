"""The catalogue file: plans and packs as an operator writes them, in TOML.

Every problem found is collected, not raised, so that `config` can tell all of them at once.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.errors import InvalidInput

_PRICE_HELP = (
    "`tallystick stripe setup` finds or makes it; or: Stripe dashboard > Product catalogue > the product > its price > "
    "⋯ > Copy price ID (price_…)."
)
_FILE_HELP = "The path of a TOML file with [[plans]] and [[packs]]."
_CATALOGUE_HELP = "Compare it with the catalogue that comes with Tallystick: `tallystick catalogue`."


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that is missing, malformed or contradicts another."""

    name: str
    what: str
    help: str


class _PlanRow(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    title: str = ""
    allowance: int
    can_buy: bool = False
    price: str | None = None
    stripe_price: str | None = None
    stripe_price_env: str | None = None
    price_yearly: str | None = None
    stripe_price_yearly: str | None = None
    stripe_price_yearly_env: str | None = None
    trial_days: int = 0


class _PackRow(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    title: str = ""
    credits: int
    price: str
    stripe_price: str | None = None
    stripe_price_env: str | None = None
    max_quantity: int = 1
    promotion_codes: bool = False


class _CatalogueFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    plans: list[_PlanRow]
    packs: list[_PackRow] = []


def default_catalogue() -> str:
    """The text of the catalogue file that comes with Tallystick."""
    return resources.files("tallystick").joinpath("catalogue.toml").read_text(encoding="utf-8")


def read_catalogue(env: Mapping[str, str], problems: list[Problem], *, prices_required: bool) -> Catalogue:
    """The catalogue of TALLYSTICK_CATALOGUE in `env`, or the one that comes with Tallystick.

    Stripe prices named by `stripe_price_env` are looked up in `env`; a missing one is a problem only when
    `prices_required`. With a problem, what is returned is a stand-in that must not be used.
    """
    path = env.get("TALLYSTICK_CATALOGUE", "")
    try:
        text = Path(path).read_text(encoding="utf-8") if path else default_catalogue()
        file = _CatalogueFile.model_validate(tomllib.loads(text))
        plans = [_plan(row, env, problems, prices_required) for row in file.plans]
        packs = [_pack(row, env, problems, prices_required) for row in file.packs]
        return Catalogue(plans, packs)
    except OSError as error:
        what, help = f"{path} cannot be read: {error.strerror}.", _FILE_HELP
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        what, help = f"{path} is not a catalogue: {wrong}.", _CATALOGUE_HELP
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, InvalidInput) as error:
        what, help = f"{path} is not a catalogue: {error}", _CATALOGUE_HELP
    problems.append(Problem("TALLYSTICK_CATALOGUE", what, help))
    return Catalogue([Plan("free", 0)])


def read_named_catalogue(env: Mapping[str, str], problems: list[Problem]) -> Catalogue:
    """The same, with `$NAME` in the place of every Stripe price that the environment is to name, set or not."""
    return read_catalogue(
        {"TALLYSTICK_CATALOGUE": env.get("TALLYSTICK_CATALOGUE", "")}, problems, prices_required=False
    )


def _plan(row: _PlanRow, env: Mapping[str, str], problems: list[Problem], required: bool) -> Plan:
    return Plan(
        row.name,
        allowance=row.allowance,
        can_buy=row.can_buy,
        stripe_price=_stripe_price(row.stripe_price, row.stripe_price_env, env, problems, required),
        price=None if row.price is None else Money.parse(row.price),
        title=row.title,
        stripe_price_yearly=_stripe_price(
            row.stripe_price_yearly, row.stripe_price_yearly_env, env, problems, required
        ),
        price_yearly=None if row.price_yearly is None else Money.parse(row.price_yearly),
        trial_days=row.trial_days,
    )


def _pack(row: _PackRow, env: Mapping[str, str], problems: list[Problem], required: bool) -> Pack:
    price = _stripe_price(row.stripe_price, row.stripe_price_env, env, problems, required)
    if price is None:
        raise InvalidInput(f"pack {row.id!r} needs stripe_price or stripe_price_env")
    return Pack(
        row.id,
        credits=row.credits,
        price=row.price,
        stripe_price=price,
        title=row.title,
        max_quantity=row.max_quantity,
        promotion_codes=row.promotion_codes,
    )


def _stripe_price(
    written: str | None, name: str | None, env: Mapping[str, str], problems: list[Problem], required: bool
) -> str | None:
    """The price that the file says itself, or that the environment has under `name`."""
    if name is None:
        return written
    price = env.get(name, "")
    if not price and not required:
        # A plan stays a paid one although its price is not known here: the name stands in for it.
        return f"${name}"
    if not price:
        problems.append(Problem(name, "is not set.", _PRICE_HELP))
    elif not price.startswith("price_"):
        problems.append(Problem(name, f"{price!r:.60} does not look like a price ID (price_…).", _PRICE_HELP))
    return price

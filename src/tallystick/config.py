"""Every setting, typed, from the environment, a `.env` file and the catalogue file.

All problems are collected and told at once, each with how to mend it: nobody should have to start a
service five times to learn five things.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dotenv import dotenv_values

from tallystick.billing import EVENTS_KEPT_DAYS, LEAST_EVENTS_KEPT_DAYS, BillingSettings
from tallystick.catalogue_file import Problem, read_catalogue, read_named_catalogue
from tallystick.database.urls import parse_url
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.errors import InvalidInput, TallystickError
from tallystick.ledger.memory import LEAST_REMEMBERED, MOST_REMEMBERED, REMEMBERED

SUCCESS_PATH = "/purchases/return"
CANCEL_PATH = "/dashboard"
"""Where buyers come back to, on the pages of the service."""

_KEY_HELP = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
_HELP = {
    "STRIPE_SECRET_KEY": "Stripe dashboard > Developers > API keys > Secret key (sk_test_… or sk_live_…).",
    "STRIPE_WEBHOOK_SECRET": (
        "`tallystick stripe setup` makes the endpoint and shows it (whsec_…); later: Stripe dashboard > Developers > "
        "Webhooks > your endpoint > Signing secret. Several, separated by commas, while one is being rolled."
    ),
    "DATABASE_URL": "sqlite:///tallystick.db, or postgresql://user:password@host/database.",
    "BASE_URL": "The address customers use, like https://credits.example.com, without a path.",
    "SECRET_KEY": _KEY_HELP,
    "PORT": "A number from 1 to 65535; 8000 when it is not set.",
    "REMEMBERED_ACCOUNTS": (
        f"A whole number from {LEAST_REMEMBERED} to {MOST_REMEMBERED}; {REMEMBERED} when it is not set. "
        "Each takes about a kilobyte of memory."
    ),
    "STRIPE_EVENTS_KEPT_DAYS": (
        f"A number of days from {LEAST_EVENTS_KEPT_DAYS} to 3650; {EVENTS_KEPT_DAYS} when it is not set. "
        "Reconciliation looks back 30 days."
    ),
    "STRIPE_API_BASE": "Only for the sandbox, like http://127.0.0.1:12111. Leave it out to talk to Stripe.",
}


class ConfigurationError(TallystickError):
    """The settings cannot be used. `problems` names every one that is wrong."""

    code = "configuration_error"

    def __init__(self, problems: list[Problem]) -> None:
        lines = [f"  {p.name}: {p.what}\n      {p.help}" for p in problems]
        count = "one setting needs" if len(problems) == 1 else f"{len(problems)} settings need"
        super().__init__(
            f"Tallystick cannot start: {count} your attention. Nothing was changed.\n"
            + "\n".join(lines)
            + "\nSet them in the environment or in a file named .env in this directory."
            + "\nTo try Tallystick without any of this: tallystick demo",
            problems=[p.name for p in problems],
        )
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings of one service. `stripe_webhook_secrets` are in the order they were given."""

    database_url: str
    catalogue: Catalogue
    stripe_secret_key: str
    stripe_webhook_secrets: tuple[str, ...]
    stripe_api_base: str | None
    base_url: str
    secret_key: str
    port: int
    remembered_accounts: int


def environment() -> dict[str, str]:
    """The process's environment over what `.env` in the current directory says."""
    from_file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**from_file, **os.environ}


def load_database_url(env: Mapping[str, str]) -> str:
    """DATABASE_URL alone, for commands that need no Stripe. Raises ConfigurationError."""
    problems: list[Problem] = []
    url = _database_url(env, problems)
    _raise(problems)
    return url


def load_ledger_settings(env: Mapping[str, str]) -> tuple[str, Catalogue]:
    """DATABASE_URL and the catalogue, for commands that work on the ledger without Stripe."""
    problems: list[Problem] = []
    url = _database_url(env, problems)
    catalogue = read_catalogue(env, problems, prices_required=False)
    _raise(problems)
    return url, catalogue


def load_setup_settings(env: Mapping[str, str]) -> tuple[BillingSettings, Catalogue]:
    """What setting up Stripe needs: a key, and a catalogue that has `$NAME` where the environment names a price.

    Raises ConfigurationError.
    """
    problems: list[Problem] = []
    catalogue = read_named_catalogue(env, problems)
    settings = _billing(env, problems)
    _raise(problems)
    return settings, catalogue


def load_settings(env: Mapping[str, str]) -> Settings:
    """Everything `tallystick serve` needs. Raises ConfigurationError that names all that is wrong."""
    problems: list[Problem] = []
    port = _port(env, problems)
    key = _stripe_key(env, problems)
    settings = Settings(
        database_url=_database_url(env, problems),
        catalogue=read_catalogue(env, problems, prices_required=True),
        stripe_secret_key=key,
        stripe_webhook_secrets=_webhook_secrets(env, problems),
        stripe_api_base=_api_base(env, key, problems),
        base_url=_base_url(env, key, port, problems),
        secret_key=_secret_key(env, problems),
        port=port,
        remembered_accounts=_remembered_accounts(env, problems),
    )
    # What is read of it is in `load_stripe_settings`; here it is told together with everything else.
    _events_kept_days(env, problems)
    _raise(problems)
    return settings


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise ConfigurationError(problems)


def _note(problems: list[Problem], name: str, what: str) -> None:
    problems.append(Problem(name, what, _HELP[name]))


def _database_url(env: Mapping[str, str], problems: list[Problem]) -> str:
    url = env.get("DATABASE_URL") or "sqlite:///tallystick.db"
    try:
        parse_url(url)
    except InvalidInput as error:
        _note(problems, "DATABASE_URL", error.message)
    return url


def _port(env: Mapping[str, str], problems: list[Problem]) -> int:
    return _number(env, "PORT", 8000, (1, 65535), "a port", problems)


def _number(
    env: Mapping[str, str],
    name: str,
    default: int,
    bounds: tuple[int, int],
    what: str,
    problems: list[Problem],
) -> int:
    """The whole number from the first to the second of `bounds` that a setting is."""
    text = env.get(name) or str(default)
    # Python does not read thousands of digits.
    if text.isascii() and text.isdigit() and len(text.lstrip("0")) < 10 and bounds[0] <= int(text[-9:]) <= bounds[1]:
        return int(text[-9:])
    _note(problems, name, f"{text[:40]!r} is not {what}.")
    return default


def _stripe_key(env: Mapping[str, str], problems: list[Problem]) -> str:
    key = env.get("STRIPE_SECRET_KEY", "")
    if not key:
        _note(problems, "STRIPE_SECRET_KEY", "is not set.")
    elif key.startswith("pk_"):
        _note(problems, "STRIPE_SECRET_KEY", "is a publishable key (pk_…); the secret one is needed.")
    elif not key.startswith(("sk_test_", "sk_live_", "rk_test_", "rk_live_")):
        _note(problems, "STRIPE_SECRET_KEY", "does not look like a secret key of Stripe.")
    return key


def _is_live(key: str) -> bool:
    return key.startswith(("sk_live_", "rk_live_"))


def _webhook_secrets(env: Mapping[str, str], problems: list[Problem]) -> tuple[str, ...]:
    secrets = tuple(s.strip() for s in env.get("STRIPE_WEBHOOK_SECRET", "").split(",") if s.strip())
    if not secrets:
        _note(problems, "STRIPE_WEBHOOK_SECRET", "is not set.")
    elif any(not secret.startswith("whsec_") for secret in secrets):
        _note(problems, "STRIPE_WEBHOOK_SECRET", "does not look like a signing secret (whsec_…).")
    return secrets


def _api_base(env: Mapping[str, str], key: str, problems: list[Problem]) -> str | None:
    base = env.get("STRIPE_API_BASE", "").rstrip("/")
    if not base:
        return None
    if not base.startswith(("http://", "https://")):
        _note(problems, "STRIPE_API_BASE", f"{base!r} is not an http address.")
    elif _is_live(key):
        _note(problems, "STRIPE_API_BASE", "is set together with a live key, which must only go to Stripe.")
    return base


def _base_url(env: Mapping[str, str], key: str, port: int, problems: list[Problem]) -> str:
    url = env.get("BASE_URL", "").rstrip("/")
    if not url:
        if _is_live(key):
            _note(problems, "BASE_URL", "is not set, and customers of a live service need an address.")
        return f"http://127.0.0.1:{port}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
        _note(problems, "BASE_URL", f"{url!r} is not an address without a path.")
    elif _is_live(key) and parts.scheme != "https":
        _note(problems, "BASE_URL", "is not https, which a live key requires.")
    return url


def _events_kept_days(env: Mapping[str, str], problems: list[Problem]) -> int:
    bounds = (LEAST_EVENTS_KEPT_DAYS, 3650)
    what = "a number of days that events can be kept"
    return _number(env, "STRIPE_EVENTS_KEPT_DAYS", EVENTS_KEPT_DAYS, bounds, what, problems)


def _remembered_accounts(env: Mapping[str, str], problems: list[Problem]) -> int:
    bounds = (LEAST_REMEMBERED, MOST_REMEMBERED)
    what = "a number of accounts that can be remembered"
    return _number(env, "REMEMBERED_ACCOUNTS", REMEMBERED, bounds, what, problems)


def _secret_key(env: Mapping[str, str], problems: list[Problem]) -> str:
    key = env.get("SECRET_KEY", "")
    if not key:
        _note(problems, "SECRET_KEY", "is not set.")
    elif len(key) < 32:
        _note(problems, "SECRET_KEY", f"has {len(key)} characters; it needs at least 32.")
    return key


def load_stripe_settings(
    env: Mapping[str, str],
    *,
    secret_key: str | None = None,
    webhook_secrets: tuple[str, ...] | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    success_path: str = SUCCESS_PATH,
    cancel_path: str = CANCEL_PATH,
) -> BillingSettings | None:
    """The Stripe settings: what is given, else what the environment says.

    None when there is no Stripe key at all. Raises ConfigurationError for one that cannot be used.
    """
    problems: list[Problem] = []
    key = secret_key or env.get("STRIPE_SECRET_KEY", "")
    if not key:
        return None
    given = dict(env)
    given["STRIPE_SECRET_KEY"] = key
    if webhook_secrets is not None:
        given["STRIPE_WEBHOOK_SECRET"] = ",".join(webhook_secrets)
    if api_base is not None:
        given["STRIPE_API_BASE"] = api_base
    if base_url is not None:
        given["BASE_URL"] = base_url
    settings = _billing(given, problems, success_path=success_path, cancel_path=cancel_path)
    _raise(problems)
    return settings


def _billing(
    env: Mapping[str, str],
    problems: list[Problem],
    *,
    success_path: str = SUCCESS_PATH,
    cancel_path: str = CANCEL_PATH,
) -> BillingSettings:
    key = _stripe_key(env, problems)
    return BillingSettings(
        secret_key=key,
        # Without one every webhook is refused (S26), and the rest works.
        webhook_secrets=_webhook_secrets(env, problems) if env.get("STRIPE_WEBHOOK_SECRET") else (),
        api_base=_api_base(env, key, problems),
        base_url=_base_url(env, key, _port(env, problems), problems),
        success_path=success_path,
        cancel_path=cancel_path,
        events_kept_days=_events_kept_days(env, problems),
    )

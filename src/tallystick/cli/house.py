"""Service and sandbox side by side in one process, on 127.0.0.1: what `demo` shows and the tests drive.

Real in every part: the service talks to the sandbox through the Stripe SDK, the sandbox sends signed
webhooks back over HTTP.
"""

import asyncio
import fcntl
import secrets
import shlex
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.billing import API_VERSION, HANDLED_EVENTS, WEBHOOK_PATH, Setup, StripeApi
from tallystick.catalogue_file import Problem, read_catalogue
from tallystick.config import ConfigurationError
from tallystick.database.schema import upgrade
from tallystick.database.urls import file_url
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.errors import TallystickError
from tallystick.service import Tallystick
from tallystick.web.app import WebSettings, create_app
from tallystick.web.users import Users

HOST = "127.0.0.1"
SANDBOX_PORT = 12111
SETTINGS_FILE = "demo.env"
_PRICES = {
    "STRIPE_PLUS_PRICE_ID": "price_demoPlusMonthly",
    "STRIPE_CREDIT_PACK_200_PRICE_ID": "price_demoCredits200",
}
_SANDBOX_KEY = "sk_test_tallystickdemo"


class DataInUse(TallystickError):
    """Another demo is using the folder."""

    code = "data_in_use"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"Another demo is using the data in {folder}. Nothing was changed. "
            "Stop that one first, or give this one a folder of its own: --data OTHER."
        )


@dataclass(frozen=True, slots=True)
class House:
    """A running service and its sandbox."""

    credits: Tallystick
    users: Users
    url: str
    sandbox: Sandbox
    sandbox_url: str


@asynccontextmanager
async def open_house(
    folder: Path, *, port: int, sandbox_port: int = SANDBOX_PORT, catalogue: Catalogue | None = None
) -> AsyncIterator[House]:
    """Start both on `port` and `sandbox_port`, or on free ones when these are taken; keep data in `folder`.

    They sell `catalogue`, or the one that comes with Tallystick.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder), bound_socket(port) as listening:
        url = f"http://{HOST}:{listening.getsockname()[1]}"
        sandbox = Sandbox(folder / "sandbox.db")
        async with SandboxServer(sandbox, port=free_port(sandbox_port)) as stripe:
            catalogue = catalogue or _demo_catalogue()
            _seed_prices(sandbox, catalogue)
            secret = _kept_secret(folder / "webhook-secret", "whsec_")
            database_url = file_url(folder.resolve() / "tallystick.db")
            await upgrade(database_url)
            credits = Tallystick(
                database_url,
                plans=catalogue.plans,
                packs=catalogue.packs,
                stripe_secret_key=_SANDBOX_KEY,
                stripe_webhook_secrets=[secret],
                stripe_api_base=stripe.url,
                base_url=url,
            )
            settings = WebSettings(
                base_url=url,
                secret_key=_kept_secret(folder / "secret-key"),
                demo=True,
                sandbox_url=stripe.url,
            )
            app = create_app(credits, settings)
            async with _serving(app, listening):
                sandbox.register_webhook(
                    f"{url}{WEBHOOK_PATH}", secret, HANDLED_EVENTS, api_version=API_VERSION, only=True
                )
                await _set_up(credits)
                _write_settings(folder, credits, settings)
                yield House(credits, app.state.site.users, url, sandbox, stripe.url)
        sandbox.close()


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else 0, which stands for any that is free when it is asked for."""
    with bound_socket(wanted) as probe:
        return wanted if probe.getsockname()[1] == wanted else 0


@contextmanager
def bound_socket(port: int) -> Iterator[socket.socket]:
    """A socket bound to `port` on 127.0.0.1, or to a free one when it is taken."""
    # asyncio sends at once only where the protocol is named; else each answer waits 40 ms for its second half.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, port))
        except OSError:
            bound.bind((HOST, 0))
        yield bound


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataInUse(folder) from error
        yield


def clear(folder: Path) -> None:
    """Throw away what earlier runs kept in `folder`. Raises DataInUse when one is running."""
    if not (folder / "lock").exists():
        return
    with _locked(folder):
        shutil.rmtree(folder)


def _kept_secret(file: Path, prefix: str = "") -> str:
    """The secret kept in `file`, made at the first run."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(prefix + secrets.token_hex(24))
    return file.read_text()


def _write_settings(folder: Path, credits: Tallystick, web: WebSettings) -> None:
    """Leave what the commands need to work with this house for a shell to read."""
    stripe = credits.billing.settings
    settings = {
        "DATABASE_URL": credits.database_url,
        "BASE_URL": web.base_url,
        "SECRET_KEY": web.secret_key,
        "STRIPE_API_BASE": stripe.api_base,
        "STRIPE_SECRET_KEY": stripe.secret_key,
        "STRIPE_WEBHOOK_SECRET": stripe.webhook_secrets[0],
        **_PRICES,
    }
    file = folder / SETTINGS_FILE
    file.touch(mode=0o600)
    file.write_text("".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in settings.items()))


def _demo_catalogue() -> Catalogue:
    """The catalogue that comes with Tallystick."""
    problems: list[Problem] = []
    catalogue = read_catalogue(_PRICES, problems, prices_required=True)
    if problems:
        raise ConfigurationError(problems)
    return catalogue


def _seed_prices(sandbox: Sandbox, catalogue: Catalogue) -> None:
    """Have the sandbox sell what is in the catalogue, plans by the month."""
    for plan in catalogue.plans:
        if plan.stripe_price is not None and plan.price is not None:
            sandbox.seed_price(
                price_id=plan.stripe_price,
                product_name=plan.title,
                unit_amount=plan.price.minor,
                currency=plan.price.currency.lower(),
                recurring="month",
            )
    for pack in catalogue.packs:
        sandbox.seed_price(
            price_id=pack.stripe_price,
            product_name=pack.title,
            unit_amount=pack.price.minor,
            currency=pack.price.currency.lower(),
        )


async def _set_up(credits: Tallystick) -> None:
    """Do at the sandbox what `stripe setup` would still do: prices and endpoint are of the demo's own ids and secret."""
    settings = credits.billing.settings
    api = StripeApi(settings)
    try:
        setup = Setup(settings, api, credits.catalogue, {}, HANDLED_EVENTS)
        await setup.apply(await setup.plan())
    finally:
        await api.close()


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals alone: whoever started the house decides when it closes."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _serving(app: Any, listening: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        if running.done():
            break
        await asyncio.sleep(0.01)
    try:
        if running.done():
            await running
        yield
    finally:
        server.should_exit = True
        await running

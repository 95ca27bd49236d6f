"""The commands as an operator types them: real processes, their output and their exit codes."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import with_database

SETTINGS = {
    "STRIPE_SECRET_KEY": "sk_test_1",
    "STRIPE_WEBHOOK_SECRET": "whsec_1,whsec_2",
    "STRIPE_CREDIT_PACK_200_PRICE_ID": "price_1",
    "STRIPE_PLUS_PRICE_ID": "price_2",
    "SECRET_KEY": "k" * 40,
}


def tallystick(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", "from tallystick.cli import app; app()", *words],
        cwd=folder,
        env={**kept, "COLUMNS": "140", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    assert tallystick(folder, "migrate").returncode == 0
    script = (
        "import asyncio; from tallystick import Plan, Tallystick\n"
        "async def main():\n"
        "    async with Tallystick(plans=[Plan('free', 25)]) as credits: await credits.open_account('acme')\n"
        "asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=60)
    return folder


@pytest.fixture
def ledger(tmp_path: Path, migrated: Path) -> Path:
    """A folder with a migrated database and one account in it."""
    shutil.copytree(migrated, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_help_says_what_to_do_first(tmp_path: Path) -> None:
    answer = tallystick(tmp_path, "--help")
    assert answer.returncode == 0
    for word in ("tallystick demo", "serve", "migrate", "verify", "credits", "STRIPE_SECRET_KEY"):
        assert word in answer.stdout


def test_a_command_that_serves_nothing_does_not_wait_for_the_web_server(tmp_path: Path) -> None:
    loaded = "import sys; from tallystick.cli import app; print({'fastapi', 'uvicorn', 'stripe_sandbox'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "set()\n"


def test_a_ledger_that_citus_cannot_distribute_is_told_so_and_left_alone(ledger: Path) -> None:
    answer = tallystick(ledger, "db", "distribute", "--apply")
    assert answer.returncode == 2
    assert "names a SQLite file" in answer.stderr
    assert "Nothing was changed" in answer.stderr


def test_serve_without_settings_names_all_of_them_and_how_to_get_each(tmp_path: Path) -> None:
    answer = tallystick(tmp_path, "serve")
    assert answer.returncode == 2
    for name in SETTINGS:
        assert f"{name}: is not set." in answer.stderr
    assert "Developers > API keys" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "tallystick.db").exists()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"STRIPE_SECRET_KEY": "pk_test_1"}, "STRIPE_SECRET_KEY: is a publishable key"),
        ({"STRIPE_WEBHOOK_SECRET": "secret"}, "STRIPE_WEBHOOK_SECRET: does not look like"),
        ({"STRIPE_PLUS_PRICE_ID": "prod_1"}, "STRIPE_PLUS_PRICE_ID: 'prod_1' does not look like a price ID"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY: has 5 characters"),
        ({"PORT": "99999"}, "PORT: '99999' is not a port"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL: "),
        ({"BASE_URL": "http://shop.test/path"}, "BASE_URL: "),
        ({"STRIPE_SECRET_KEY": "sk_live_1"}, "BASE_URL: is not set, and customers of a live service"),
        ({"STRIPE_SECRET_KEY": "sk_live_1", "BASE_URL": "http://shop.test"}, "BASE_URL: is not https"),
        ({"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_API_BASE": "http://127.0.0.1:1"}, "together with a live key"),
        ({"REMEMBERED_ACCOUNTS": "999"}, "REMEMBERED_ACCOUNTS: '999' is not a number of accounts"),
        ({"REMEMBERED_ACCOUNTS": "9" * 5_000}, "REMEMBERED_ACCOUNTS: '999"),
        ({"TALLYSTICK_CATALOGUE": "missing.toml"}, "missing.toml cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, setting: dict[str, str], complaint: str) -> None:
    answer = tallystick(tmp_path, "serve", **{**SETTINGS, **setting})
    assert answer.returncode == 2
    assert complaint in answer.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("plans = 5", "plans"),
        ("[[plans]]\nname = 'free'\nallowance = 1.5", "allowance"),
        ("[[plans]]\nname = 'free'\nallowance = 5\ncolour = 'red'", "colour"),
        ("[[plans]]\nname = 'free'\nallowance = -5", "from 0 to"),
        ("[[plans]]\nname = 'x'\nallowance = 5\nstripe_price = 'price_1'", "cannot be paid"),
        (
            "[[plans]]\nname = 'f'\nallowance = 5\n[[packs]]\nid = 'p'\ncredits = 5\nprice = '5'\nstripe_price = 'price_1'",
            "Write money",
        ),
        ("not toml", "not a catalogue"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_explained(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    answer = tallystick(tmp_path, "serve", **SETTINGS, TALLYSTICK_CATALOGUE="mine.toml")
    assert answer.returncode == 2
    assert complaint in answer.stderr
    assert "tallystick catalogue" in answer.stderr


def test_settings_are_read_from_a_dotenv_file_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\n".join(f"{name}={value}" for name, value in SETTINGS.items()))
    answer = tallystick(tmp_path, "serve")
    assert (answer.returncode, "tallystick migrate" in answer.stderr) == (2, True)
    assert "PORT: 'x' is not a port" in tallystick(tmp_path, "serve", PORT="x").stderr


def test_serve_refuses_an_old_schema_and_names_the_command(tmp_path: Path) -> None:
    answer = tallystick(tmp_path, "serve", **SETTINGS)
    assert answer.returncode == 2
    assert "Run: tallystick migrate" in answer.stderr


def test_migrate_creates_the_schema_once(tmp_path: Path) -> None:
    assert "Applied 0001" in tallystick(tmp_path, "migrate").stdout
    assert "up to date" in tallystick(tmp_path, "migrate").stdout


def test_the_catalogue_that_is_printed_can_be_used(tmp_path: Path) -> None:
    printed = tallystick(tmp_path, "catalogue")
    (tmp_path / "mine.toml").write_text(printed.stdout)
    answer = tallystick(tmp_path, "serve", **SETTINGS, TALLYSTICK_CATALOGUE="mine.toml")
    assert "tallystick migrate" in answer.stderr


def test_credits_are_shown_granted_spent_and_removed(ledger: Path) -> None:
    granted = json.loads(tallystick(ledger, "credits", "grant", "acme", "200", "--reason", "sorry", "--json").stdout)
    assert (granted["bonus"], granted["replayed"]) == (200, False)
    spent = json.loads(tallystick(ledger, "credits", "spend", "acme", "30", "--key", "k", "--json").stdout)
    assert (spent["monthly"], spent["bonus"]) == (0, 195)
    again = tallystick(ledger, "credits", "spend", "acme", "30", "--key", "k")
    assert "used before" in again.stdout
    removed = json.loads(
        tallystick(ledger, "credits", "remove", "acme", "15", "--reason", "granted twice", "--json").stdout
    )
    assert (removed["bonus"], removed["entry"]["reason"]) == (180, "granted twice")
    shown = tallystick(ledger, "credits", "show", "acme")
    assert "sorry" in shown.stdout
    assert "180" in shown.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["show", "ghost"], "There is no account 'ghost'"),
        (["spend", "acme", "26"], "25 are available. Nothing was spent."),
        (["spend", "acme", "0"], "from 1 to"),
        (["remove", "acme", "26", "--reason", "too much"], "25 are available."),
        (["remove", "acme", "1", "--reason", " "], "Give a reason"),
        (["grant", "acme", "10000000000000"], "from 1 to"),
    ],
)
def test_what_the_ledger_refuses_is_told_with_exit_code_1(ledger: Path, words: list[str], complaint: str) -> None:
    answer = tallystick(ledger, "credits", *words)
    assert answer.returncode == 1
    assert complaint in " ".join(answer.stderr.split())


@pytest.mark.parametrize("entries", ["-1", "99999999999999999999"])
def test_a_number_of_entries_that_cannot_be_shown_is_told_so(ledger: Path, entries: str) -> None:
    answer = tallystick(ledger, "credits", "show", "acme", "--entries", entries)
    assert answer.returncode == 2
    assert "--entries" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("words", [["credits", "show"], ["verify"]])
def test_an_id_that_no_account_can_have_is_told_so(ledger: Path, words: list[str]) -> None:
    answer = tallystick(ledger, *words, "\udcff")
    assert answer.returncode == 1
    assert "account id must be 1 to 255 visible ASCII characters" in " ".join(answer.stderr.split())


def test_verify_tells_an_account_or_a_folder_that_is_not_there_from_damage(ledger: Path) -> None:
    answer = tallystick(ledger, "verify", "nobody")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "nobody" in answer.stderr
    assert "differences" not in answer.stderr
    answer = tallystick(ledger, "verify", "--archive", "nowhere")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "there is no such folder" in answer.stderr


def test_what_customers_write_is_shown_as_it_is_and_not_obeyed(ledger: Path) -> None:
    words = ("credits", "spend", "acme", "1", "--key", "[/k]", "--operation", "[bold]x\x1b[31mred\x07:100:")
    for _ in range(2):
        answer = tallystick(ledger, *words)
        assert answer.returncode == 0
    assert answer.stdout.startswith("Key [/k] was used before")
    shown = tallystick(ledger, "credits", "show", "acme").stdout
    assert "[bold]x␛[31mred␇:100:" in shown
    told = tallystick(ledger, "credits", "grant", "acme", "1", "--reason", ":100:", "--json").stdout
    assert json.loads(told)["entry"]["reason"] == ":100:"
    assert "\x1b" not in shown
    answer = tallystick(ledger, "archive", "--before", "2020-01-01", "--to", "old[/b]")
    assert (answer.returncode, "old[/b]" in answer.stdout) == (0, True)


def test_verify_proves_the_ledger_and_shows_what_is_off(ledger: Path) -> None:
    clean = tallystick(ledger, "verify")
    assert (clean.returncode, "every number is proven" in clean.stdout) == (0, True)
    with sqlite3.connect(ledger / "tallystick.db") as connection:
        connection.execute("UPDATE accounts SET bonus_credits = 9")
    off = tallystick(ledger, "verify")
    assert off.returncode == 1
    assert "Account acme: bonus is 9, its entries say 0." in off.stdout
    assert tallystick(ledger, "verify", "acme").returncode == 1
    assert tallystick(ledger, "verify", "--new").returncode == 1


@pytest.mark.parametrize("command", ["migrate", "verify", "serve"])
@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:9/nothing", "sqlite:///missing/folder/x.db"])
def test_a_database_that_cannot_be_reached_is_one_clear_message(tmp_path: Path, command: str, url: str) -> None:
    answer = tallystick(tmp_path, command, **SETTINGS, DATABASE_URL=url)
    assert answer.returncode == 2
    assert "Cannot connect to the database" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_database_that_is_not_there_is_named(tmp_path: Path, postgres_server: str) -> None:
    answer = tallystick(tmp_path, "migrate", DATABASE_URL=with_database(postgres_server, "missing"))
    assert answer.returncode == 2
    assert "does not exist" in answer.stderr


def test_keys_are_made_listed_and_revoked(ledger: Path) -> None:
    none = tallystick(ledger, "keys", "list")
    assert "No keys yet" in none.stdout
    made = json.loads(tallystick(ledger, "keys", "create", "worker", "--scope", "spend", "--json").stdout)
    assert made["secret"].startswith("tsk_")
    listed = tallystick(ledger, "keys", "list").stdout
    assert made["id"] in listed
    assert made["secret"] not in listed
    assert tallystick(ledger, "keys", "revoke", made["id"]).returncode == 0
    (key,) = json.loads(tallystick(ledger, "keys", "list", "--json").stdout)
    assert (key["scopes"], key["last_used_at"]) == (["spend"], None)
    assert key["revoked_at"]


def test_a_wrong_scope_or_key_is_told_clearly(ledger: Path) -> None:
    wrong = tallystick(ledger, "keys", "create", "worker", "--scope", "root")
    assert wrong.returncode != 0
    assert "read, spend, grant, admin" in wrong.stderr + wrong.stdout
    unknown = tallystick(ledger, "keys", "revoke", "key_none")
    assert unknown.returncode != 0
    assert "tallystick keys list" in unknown.stderr + unknown.stdout

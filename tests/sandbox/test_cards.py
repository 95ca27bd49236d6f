"""The table of test cards: what the README says of it, and that every card could be one."""

import re
from pathlib import Path

import stripe_sandbox
from stripe_sandbox import cards
from stripe_sandbox.card_table import CARDS, SPECIAL, by_token
from tests.sandbox.conftest import CARD

README = (Path(stripe_sandbox.__file__).parent / "README.md").read_text()
ROWS = [
    row.split("|")[1:4]
    for row in README.split("## Test cards")[1].split("\n## ")[0].splitlines()
    if row.startswith("| ")
][1:]


def test_every_number_and_name_in_the_readme_is_a_test_card() -> None:
    assert len(ROWS) > 20
    for numbers, names, _ in ROWS:
        full = [number.replace(" ", "") for number in re.findall(r"\d[\d ]{13,}\d", numbers)]
        assert full, numbers
        assert set(full) <= set(CARDS)
        assert all(any(known.endswith(last4) for known in CARDS) for last4 in re.findall(r"…(\d{4})", numbers))
        assert all(by_token(f"pm_card_{name}") is not None for name in re.findall(r"`(\w+)`", names))


def test_every_card_that_behaves_in_a_way_of_its_own_is_in_the_readme() -> None:
    table = "\n".join(" ".join(row) for row in ROWS)
    for card in SPECIAL.values():
        assert card.number[-4:] in table, card
    assert {card.number[-4:] for card in CARDS.values() if card.decline} <= set(re.findall(r"\d{4}", table))


def test_every_number_passes_for_a_card_number() -> None:
    for number, card in CARDS.items():
        assert cards.digits_of(number) == number == card.number
        cards.check_cvc(card, "1234" if card.brand == "amex" else CARD["cvc"])


def test_a_card_asks_as_its_table_says() -> None:
    def asked(token: str) -> list[bool]:
        card = by_token(f"pm_card_{token}")
        assert card is not None
        return [card.asks(off_session=off, set_up=up) for off in (False, True) for up in (False, True)]

    assert asked("visa") == [False, False, False, False]
    assert asked("authenticationRequiredOnSetup") == [True, True, True, False]
    assert asked("authenticationRequired") == [True, True, True, True]
    assert asked("authenticationRequiredSetupForOffSession") == [True, True, False, False]

"""S9: all commands of an account that wait or are under way are in one lane."""

import random

import pytest

from tallystick.ledger.places import Places

ACCOUNTS = [f"acc{n}" for n in range(9)]


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("spread", [None, len], ids=["anywhere", "where they belong"])
def test_s9_an_account_stays_in_its_lane_while_it_has_a_command_there(seed: int, spread: object) -> None:
    chance = random.Random(seed)
    places = Places(3, spread)  # type: ignore[arg-type]
    there: list[tuple[str, int]] = []
    for _ in range(300):
        if there and chance.random() < 0.5:
            account, _ = there.pop(chance.randrange(len(there)))
            places.leave(account)
            continue
        account = chance.choice(ACCOUNTS)
        lane = places.lane_of(account)
        others = {other for name, other in there if name == account}
        assert not others or others == {lane}
        if spread is None and not others:
            least = min(sum(other == n for _, other in there) for n in range(3))
            assert sum(other == lane for _, other in there) == least
        if spread is len:
            assert lane == len(account) % 3
        places.take(account, lane)
        there.append((account, lane))
    for account, _ in there:
        places.leave(account)
    assert (places._accounts, places._taken) == ({}, [0, 0, 0])

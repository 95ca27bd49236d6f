"""Frozen classes with the cheaper constructor are what dataclass makes of them, in every other way."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from tallystick.domain.account import Account, Entry, Grant
from tallystick.domain.frozen import cheaply_made


@cheaply_made
@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2


@pytest.mark.parametrize("made", [Account, Entry, Grant])
def test_no_field_of_what_the_ledger_remembers_can_be_set(made: type) -> None:
    parameters = inspect.signature(made).parameters
    value = made(*range(len(parameters)))
    for n, name in enumerate(parameters):
        assert getattr(value, name) == n
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)


def test_arguments_defaults_and_equality_are_those_of_the_dataclass() -> None:
    assert type(Point(1)) is Point
    assert Point(1) == Point(x=1, y=2) != Point(1, 3)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert repr(Point(1)) == "Point(x=1, y=2)"
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]


def test_it_can_be_replaced_copied_and_pickled() -> None:
    for same in (
        replace(Point(9), x=1),
        copy.copy(Point(1)),
        copy.deepcopy(Point(1)),
        pickle.loads(pickle.dumps(Point(1))),  # noqa: S301
    ):
        assert same == Point(1)
        assert type(same) is Point

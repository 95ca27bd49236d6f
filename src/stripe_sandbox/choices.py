"""Words to choose from, as whoever drives the sandbox gives them."""

from enum import StrEnum
from typing import NoReturn


class Choice(StrEnum):
    """One of a few words. The field that it is given in has the name of the class, in small letters."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(
            f"{cls.__name__.lower()} is one of {', '.join(cls)}, not {value!r:.40}. Nothing was changed."
        )

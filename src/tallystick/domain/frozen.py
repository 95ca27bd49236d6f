"""A cheaper constructor for frozen dataclasses that every spend makes several of. Knows nothing of credits.

The constructor of a frozen dataclass has to go round the lock of its own class for each field. With the 25
fields of an entry that took longer than deciding what the entry says (decision 0008).
"""

from dataclasses import MISSING, fields
from typing import Any, TypeVar

T = TypeVar("T")


def cheaply_made(cls: type[T]) -> type[T]:
    """Give a frozen dataclass with slots the constructor of an ordinary one.

    While its fields are set the object is of an open class with the same slots; afterwards it is as frozen
    as before. Only for classes without bases, whose fields are positional and have plain defaults.
    """
    described = fields(cls)  # type: ignore[arg-type]
    names = [field.name for field in described]
    known: dict[str, Any] = {
        "_cls": cls,
        "_open": type(cls.__name__, (), {"__slots__": names}),
        "_reopen": object.__dict__["__class__"].__set__,
        **{f"_default_{field.name}": field.default for field in described if field.default is not MISSING},
    }
    parameters = [name if f"_default_{name}" not in known else f"{name}=_default_{name}" for name in names]
    lines = ["_reopen(self, _open)", *(f"self.{name} = {name}" for name in names), "self.__class__ = _cls"]
    made: dict[str, Any] = {}
    # As dataclass itself does it: what is run is made of the names of fields alone.
    exec(f"def __init__(self, {', '.join(parameters)}):\n " + "\n ".join(lines), known, made)  # noqa: S102
    made["__init__"].__annotations__ = {**cls.__init__.__annotations__}
    made["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = made["__init__"]  # type: ignore[method-assign]
    return cls

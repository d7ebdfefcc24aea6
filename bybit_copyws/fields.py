"""How one JSON object becomes one immutable model: a table of fields, read by one function.

It must not know any model, topic or profile: :mod:`bybit_copyws.models` holds those. A field's
converter follows from its annotation and its key from its name; a table states exceptions only.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from bybit_copyws.errors import ProtocolError

Level: TypeAlias = tuple[Decimal, Decimal]
"""One price level of an order book: price and size."""


class Model(msgspec.Struct, frozen=True, gc=False, kw_only=True, repr_omit_defaults=True):
    """Base of all models; every field is ``None`` if the exchange left it out or empty.

    Attributes:
        extra: the keys that no field stands for, as sent. Read-only by agreement: it is a plain
            dictionary so that models can be pickled and encoded as JSON.
    """

    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)


ModelT = TypeVar("ModelT", bound=Model)


class Field(NamedTuple):
    """One row of a field table.

    Attributes:
        name: attribute of the model.
        keys: the exchange's names for it, the preferred one first.
        convert: makes the attribute out of the JSON value, or raises.
    """

    name: str
    keys: tuple[str, ...]
    convert: Callable[[Any], Any]


FieldTable: TypeAlias = tuple[Field, ...]

_SCALARS = frozenset((str, int, float))  # type() is asked, for a bool is an int to isinstance()
_FLAGS = {True: True, False: False, "true": True, "false": False}
_CANNOT_CONVERT = (TypeError, ValueError, ArithmeticError, LookupError)
_MOST = 40  # characters of an offending value that an error text repeats

_excerpt = reprlib.Repr()
_excerpt.maxstring = _excerpt.maxother = _MOST


def _scalar(value: Any) -> Any:
    if type(value) not in _SCALARS:
        raise TypeError("neither text nor a number")
    return value


def text(value: Any) -> str:
    """Return text; a number is written out."""
    return str(_scalar(value))


def decimal(value: Any) -> Decimal:
    """Return an exact number; a JSON number counts as the digits that it is written with."""
    number = Decimal(str(_scalar(value)))
    if not number.is_finite():
        raise ValueError("not a finite number")
    return number


def integer(value: Any) -> int:
    """Return a whole number; milliseconds and indexes come as text or as numbers."""
    number = int(_scalar(value))
    if type(value) is float and number != value:
        raise ValueError("not a whole number")
    return number


def flag(value: Any) -> bool:
    """Return a truth value."""
    return _FLAGS[value]


def levels(value: Any) -> tuple[Level, ...]:
    """Return one side of an order book, in the order sent."""
    return tuple([_level(item) for item in _array(value)])


def _level(value: Any) -> Level:
    price, size = _array(value)
    return decimal(price), decimal(size)


def _array(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):  # text would unpack into characters
        raise TypeError("not an array")
    return value


_CONVERTERS: Mapping[Any, Callable[[Any], Any]] = {
    str | None: text,
    int | None: integer,
    bool | None: flag,
    Decimal | None: decimal,
    tuple[Level, ...]: levels,
}


def field_table(model: type[Model], **keys: tuple[str, ...]) -> FieldTable:
    """Make the field table of a model.

    Args:
        model: a model whose module evaluates its annotations.
        keys: the exchange's names of the fields whose name is not just the key in snake_case;
            an empty tuple for a field that does not come from the record.
    """
    return tuple(
        Field(name, sources, _CONVERTERS[annotation])
        for name, annotation in model.__annotations__.items()
        if (sources := keys.get(name, (camel_case(name),)))
    )


def camel_case(name: str) -> str:
    """Return the exchange's spelling of a field name."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def parse_record(
    topic: str, model: type[ModelT], table: FieldTable, record: Any, **given: Any
) -> ModelT:
    """Make a model out of a JSON object.

    Args:
        topic: named by the error.
        model: the class to make.
        table: its field table.
        record: the JSON object; it is not changed.
        given: values of fields that do not come from the record.

    Raises:
        ProtocolError: the record is not an object, or a value cannot be converted.
    """
    rest = dict(json_object(topic, model.__name__, record))
    for name, keys, convert in table:
        for key in keys:
            if key in rest:  # a second spelling of the same field stays in the rest
                break
        else:
            continue
        value = rest.pop(key)
        if value is None or value == "":
            continue
        try:
            given[name] = convert(value)
        except _CANNOT_CONVERT as error:
            raise ProtocolError(
                f"{topic}: {model.__name__}.{name} cannot be read from {shortened(value)}"
                f" (sent as {key!r})"
            ) from error
    return model(extra=rest, **given)


def json_object(topic: str, what: str, value: Any) -> dict[str, Any]:
    """Return the value if it is a JSON object, else raise a ``ProtocolError``."""
    if not isinstance(value, dict):
        raise ProtocolError(f"{topic}: {what} is an object, but {shortened(value)} was sent")
    return value


def json_array(topic: str, what: str, value: Any) -> list[Any] | tuple[Any, ...]:
    """Return the value if it is a JSON array, else raise a ``ProtocolError``."""
    if not isinstance(value, (list, tuple)):
        raise ProtocolError(f"{topic}: {what} is an array, but {shortened(value)} was sent")
    return value


def shortened(value: Any) -> str:
    """Describe a value in at most 40 characters, however big and deep it is."""
    described = _excerpt.repr(value)
    return described if len(described) <= _MOST else f"{described[: _MOST - 3]}..."

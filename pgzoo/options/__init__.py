"""Options as data: what each means, its range, and the parts that hold them.

An algorithm is a frozen dataclass. Some of its fields are options, made by ``option``; others are
parts, frozen dataclasses that hold options of their own. ``flat`` and ``build`` go between such a
value and the flat mapping of names to values that a command line, a keyword call or a file has.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pgzoo.errors import UsageError
from pgzoo.options.description import Option, checked, checked_path, several
from pgzoo.options.needs import Need, above_one, below, equal_to, present
from pgzoo.options.values import (
    LARGEST_SEED,
    LARGEST_WHOLE,
    MOST_SEEDS,
    SMALLEST,
    plain,
    shown,
    written,
)

__all__ = [
    "LARGEST_SEED",
    "LARGEST_WHOLE",
    "MOST_SEEDS",
    "SMALLEST",
    "Need",
    "Option",
    "above_one",
    "below",
    "build",
    "check_needs",
    "check_options",
    "checked",
    "checked_path",
    "chosen_by",
    "equal_to",
    "flat",
    "option",
    "options_of",
    "own_options",
    "parts_as_chosen",
    "parts_of",
    "plain",
    "present",
    "several",
    "shown",
    "written",
]

T = TypeVar("T")


def option(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    estimate: bool = False,
    needs: Need | tuple[Need, ...] = (),
) -> Any:
    """A dataclass field that a user may set.

    Args:
        default: its value if nothing is said.
        description: what it does, for help texts.
        minimum: least value.
        above: what it must exceed.
        maximum: greatest value.
        below: what it must stay under.
        estimate: whether it changes the gradient estimate of a given batch, or the batch's plan;
            the others are about training.
        needs: what other options must be for this one to change anything. Who gives it without
            is told so by ``check_needs``.
    """
    bounds = {"minimum": minimum, "above": above, "maximum": maximum, "below": below}
    needed = (needs,) if isinstance(needs, Need) else needs
    metadata = {"description": description, "estimate": estimate, "needs": needed}
    metadata["bounds"] = {k: v for k, v in bounds.items() if v is not None}
    return dataclasses.field(default=default, metadata=metadata)


def chosen_by(name: str, default: str, **alternatives: Any) -> Any:
    """A dataclass field for a part that another option chooses; None where it names none.

    Args:
        name: of the option that chooses.
        default: that option's own default.
        alternatives: the part for each of its values, ``-`` written as ``_``.
    """
    metadata = {"chosen_by": name, "alternatives": alternatives}
    return dataclasses.field(default=alternatives.get(_key(default)), metadata=metadata)


def options_of(cls: Any) -> dict[str, Option]:
    """Every option of a dataclass and its parts, by name.

    Raises:
        TypeError: if two have the same name.
    """
    return _options_by_name(cls)


@cache
def _options_by_name(cls: Any) -> dict[str, Option]:
    found = list(_options(cls))
    options = {o.name: o for o in found}
    if len(options) < len(found):
        names = [o.name for o in found]
        raise TypeError(f"{cls.__name__} has two options named {max(names, key=names.count)}.")
    return options


def _options(
    cls: type, prototype: Any = None, part_of: tuple[str, str] | None = None
) -> Iterator[Option]:
    kinds = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        default = field.default if prototype is None else getattr(prototype, field.name)
        if "description" in field.metadata:
            yield Option(
                name=field.name,
                default=default,
                description=field.metadata["description"],
                kind=kinds[field.name],
                bounds=field.metadata["bounds"],
                estimate=field.metadata["estimate"],
                part_of=part_of,
                needs=field.metadata["needs"],
            )
        elif "alternatives" in field.metadata:
            for value, part in field.metadata["alternatives"].items():
                choice = (field.metadata["chosen_by"], value.replace("_", "-"))
                yield from _options(type(part), part, choice)
        elif dataclasses.is_dataclass(default):
            yield from _options(type(default), default, part_of)


def check_options(holder: Any) -> None:
    """Raise a ``UsageError`` unless all of a value's own options are in range."""
    for name, known in own_options(type(holder)).items():
        known.check(getattr(holder, name))


def own_options(cls: Any) -> dict[str, Option]:
    """The options that a dataclass holds itself, not in parts."""
    return _own_options(cls)


@cache
def _own_options(cls: Any) -> dict[str, Option]:
    own = {f.name for f in dataclasses.fields(cls) if "description" in f.metadata}
    return {o.name: o for o in _options(cls) if o.name in own}


def flat(holder: Any) -> dict[str, Any]:
    """Every option's value by name, those of the parts included."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(holder):
        value = getattr(holder, field.name)
        if "description" in field.metadata:
            values[field.name] = value
        elif dataclasses.is_dataclass(value):
            values |= flat(value)
    return values


def build(cls: type[T], given: Mapping[str, Any], defaults: Mapping[str, Any] = {}) -> T:
    """A value of a class from options by name.

    Args:
        cls: the dataclass.
        given: what a user says; what cannot be used is refused.
        defaults: in place of the fields' own; those of parts that are absent are not needed.

    Raises:
        UsageError: for an unknown option, one of a part that is absent, or a value out of range.
    """
    known = options_of(cls)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean `{near[0]}`? " if near else ""
            raise UsageError(f"Unknown option `{name}`. {hint}There are: {', '.join(known)}.")
    values = dict(defaults) | {name: known[name].plain(value) for name, value in given.items()}
    result = _build(cls, None, values)
    for name in given.keys() - flat(result).keys():
        part_of = known[name].part_of
        assert part_of is not None
        equal_to(*part_of).check(name, flat(result))
    return result


def check_needs(cls: Any, given: Collection[str], values: Mapping[str, Any]) -> None:
    """Raise a ``UsageError`` if an option was given that changes nothing.

    Args:
        cls: the dataclass.
        given: names of the options that a user set.
        values: of all options, and of what else they depend on; what depends on others is not
            judged.
    """
    known = options_of(cls)
    for name in given:
        for need in known[name].needs:
            need.check(name, values)


def _build(cls: Any, prototype: Any, values: Mapping[str, Any]) -> Any:
    chosen: dict[str, Any] = {}
    parts = []
    for field in dataclasses.fields(cls):
        default = field.default if prototype is None else getattr(prototype, field.name)
        if "alternatives" in field.metadata or dataclasses.is_dataclass(default):
            parts.append((field, default))
        else:
            chosen[field.name] = values.get(field.name, default) if field.metadata else default
    for field, default in parts:
        part = default
        if "alternatives" in field.metadata:
            part = field.metadata["alternatives"].get(_key(chosen[field.metadata["chosen_by"]]))
        chosen[field.name] = None if part is None else _build(type(part), part, values)
    return cls(**chosen)


def parts_as_chosen(holder: Any) -> dict[str, Any]:
    """The parts of a value that are not those which its options choose, and what they should be."""
    wrong = {}
    for field in dataclasses.fields(holder):
        if "alternatives" in field.metadata:
            choice = _key(getattr(holder, field.metadata["chosen_by"]))
            wanted = field.metadata["alternatives"].get(choice)
            if type(getattr(holder, field.name)) is not type(wanted):
                wrong[field.name] = wanted
    return wrong


def parts_of(cls: Any, name: str) -> list[Any]:
    """What a class's part may be: its default, or every alternative that an option chooses."""
    field = next(f for f in dataclasses.fields(cls) if f.name == name)
    alternatives = field.metadata.get("alternatives")
    return [field.default] if alternatives is None else list(alternatives.values())


def _key(value: Any) -> str:
    return str(value).replace("-", "_")

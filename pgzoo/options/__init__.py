"""Options as data: what each means, its range, and the parts that hold them.

An algorithm is a frozen dataclass. Some of its fields are options, made by ``option``; others are
parts, frozen dataclasses that hold options of their own. ``flat`` and ``build`` go between such a
value and the flat mapping of names to values that a command line, a keyword call or a file has.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pgzoo.errors import UsageError

T = TypeVar("T")
BOUNDS = {
    "minimum": "of at least {}",
    "above": "above {}",
    "maximum": "at most {}",
    "below": "below {}",
}
LONGEST = 80
"""Characters of what was given, in a message."""
LONGEST_NAME, LONGEST_PATH = 255, 4_095
"""Bytes that file systems have room for."""
MOST_SEEDS, LARGEST_SEED = 10_000, 2**63 - 1
LARGEST_WHOLE = 2**31 - 1
"""Of whole numbers whose option states no other limit: what counts and indices are computed in."""
SMALLEST, LARGEST = 1e-9, 1e9
"""Of numbers that are computed with, but for 0. A weight of 0.01, as policies start with, does not
notice less in float32; and what is much more has no finite square there once it met a gradient."""
WORDS = {"yes": True, "true": True, "no": False, "false": False}
KINDS: dict[Any, str] = {
    bool: "yes or no",
    int: "a whole number",
    int | None: "a whole number",
    float: "a number",
    tuple[int, ...]: "whole numbers with commas between",
}


@dataclass(frozen=True)
class Need:
    """What other options must be for one to change anything.

    Attributes:
        names: of the other options.
        words: what they must be, as messages say it.
        holds: whether their values, in that order, are such.
    """

    names: tuple[str, ...]
    words: str
    holds: Callable[..., bool]


def equal_to(name: str, value: str | bool) -> Need:
    """Another option must have one value."""
    return Need((name,), f"`{name}={written(value)}`", lambda v: bool(v == value))


def present(name: str) -> Need:
    """Another option must be anything but none."""
    return Need((name,), f"`{name}`", lambda v: v is not None)


def below(name: str, bound: float) -> Need:
    """Another option must be less."""
    return Need((name,), f"`{name}` below {bound:g}", lambda v: bool(v < bound))


def above_one(*names: str) -> Need:
    """One of other options must be more than 1."""
    words = f"{' or '.join(f'`{name}`' for name in names)} above 1"
    return Need(names, words, lambda *values: max(values) > 1)


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


@dataclass(frozen=True)
class Option:
    """What is to be known of an option.

    Attributes:
        name: unique within its agent.
        default: of the part that holds it.
        description: what it does.
        kind: its declared type.
        bounds: of ``BOUNDS``, with the limit.
        estimate: whether it changes the estimate, and not training alone.
        part_of: the option, and its value, that this one exists with; None: always.
        needs: what it changes nothing without.
    """

    name: str
    default: Any
    description: str
    kind: Any
    bounds: Mapping[str, float]
    estimate: bool = False
    part_of: tuple[str, str] | None = None
    needs: tuple[Need, ...] = ()

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The values of a ``Literal``, else None."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else None

    def check(self, value: Any) -> None:
        """Raise a ``UsageError`` unless the value is of the declared kind and in range."""
        expected = f"Expected `{self.name}`"
        if self.choices is not None:
            if not isinstance(value, str) or value not in self.choices:
                got = shown(value)
                near = difflib.get_close_matches(got.strip("'"), self.choices, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise UsageError(f"{expected} among {', '.join(self.choices)}; got {got}.{hint}")
            return
        if self.kind == tuple[int, ...]:
            if not isinstance(value, tuple) or not all(_is_whole(n) and n > 0 for n in value):
                raise UsageError(f"{expected} to be positive whole numbers, got {shown(value)}.")
            if value and max(value) > LARGEST_WHOLE:
                raise UsageError(f"{expected} of at most {LARGEST_WHOLE:,}, got {shown(value)}.")
        elif self.kind in (int, float) or (self.kind == int | None and value is not None):
            self._check_number(value)
        elif self.kind is bool and not isinstance(value, bool):
            raise UsageError(f"{expected} to be true or false, got {shown(value)}.")
        elif self.kind == str | None and not (value is None or isinstance(value, str)):
            raise UsageError(f"{expected} to be text, got {shown(value)}.")
        elif value == "":
            raise UsageError(f"{expected} to be text, got an empty one. Leave it out for none.")

    def _check_number(self, value: Any) -> None:
        expected = f"Expected `{self.name}`"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UsageError(f"{expected} to be a number, got {shown(value)}.")
        if self.kind is not float and not _is_whole(value):
            raise UsageError(f"{expected} to be a whole number, got {shown(value)}.")
        inside = {
            "minimum": lambda bound: value >= bound,
            "above": lambda bound: value > bound,
            "maximum": lambda bound: value <= bound,
            "below": lambda bound: value < bound,
        }
        if not all(inside[k](b) for k, b in self.bounds.items()) or value != value:  # NaN
            raise UsageError(f"{expected} {self.range_in_words()}, got {_number(value)}.")
        self._check_limits(value)

    def _check_limits(self, value: float) -> None:
        """Raise a ``UsageError`` for what is in range, but not to be computed with."""
        if self.kind is not float:
            most: float = self.bounds.get("maximum", LARGEST_WHOLE)
            if abs(value) > most:
                raise UsageError(
                    f"Expected `{self.name}` of at most {_number(most)}, got {_number(value)}."
                )
        elif not (value == 0 or SMALLEST <= abs(value) <= LARGEST):
            most = self.bounds.get("maximum", self.bounds.get("below", LARGEST))
            zero = "" if "above" in self.bounds else ", or 0"
            raise UsageError(
                f"Expected `{self.name}` between {SMALLEST:g} and {most:g}{zero}, got "
                f"{_number(value)}: beyond that, float32 changes nothing or overflows."
            )

    def plain(self, value: Any) -> Any:
        """A value as configurations hold it, from what Python and its libraries call the same.

        Scalars of NumPy and torch become Python's, lists tuples, paths text, and whole numbers of
        an option that is a fraction fractions. Whether it is a value of the option is for
        ``check``.
        """
        value = plain(value)
        if self.kind == tuple[int, ...]:
            value = value.tolist() if hasattr(value, "tolist") else value
            return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value
        if self.kind is float and _is_whole(value) and abs(value) <= LARGEST:
            return float(value)
        return str(value) if self.kind == str | None and isinstance(value, Path) else value

    def parse(self, text: str) -> Any:
        """The value that a user writes as this text; whether it is in range is for ``check``.

        Raises:
            UsageError: if it is no value of the option's kind.
        """
        if self.choices is not None:
            self.check(text)
            return text
        if self.kind == str | None:
            return None if text.lower() == "none" else text
        try:
            if self.kind == tuple[int, ...]:
                return tuple(int(width) for width in text.split(","))
            if self.kind == int | None:
                return None if text.lower() == "none" else int(text)
            return WORDS[text.lower()] if self.kind is bool else self.kind(text)
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"Expected `{self.name}` to be {KINDS[self.kind]}, got {shown(text)}."
            ) from error

    def range_in_words(self) -> str:
        """As in "between 0 and 1"."""
        if {"minimum", "maximum"} <= self.bounds.keys():
            low, high = self.bounds["minimum"], self.bounds["maximum"]
            return f"between {_number(low)} and {_number(high)}"
        texts = [BOUNDS[k].format(_number(bound)) for k, bound in self.bounds.items()]
        return " and ".join(texts) or "to be a finite number"


def written(value: Any) -> str:
    """An option's value as a user writes it, the inverse of ``Option.parse``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if value is None:
        return "none"
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def plain(value: Any) -> Any:
    """A Python scalar, if the value is one of NumPy's or torch's; else the value."""
    return value.item() if getattr(value, "shape", None) == () else value


def shown(value: Any) -> str:
    """Anything that a user gave, in few characters, for messages."""
    try:
        text = repr(value)
    except Exception:  # a whole number of more digits than Python writes, or a stranger's object
        text = f"one of {type(value).__name__} that cannot be written"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]}… ({len(text):,} characters)"


def checked(name: str, value: Any, kind: Any = int, **bounds: float) -> Any:
    """An argument that is no option of a part, as ``option`` would have it.

    Args:
        name: of the argument.
        value: what was given for it.
        kind: its type.
        bounds: of ``BOUNDS``.

    Raises:
        UsageError: if it is of another kind, or out of range.
    """
    known = Option(name, None, "", kind, bounds)
    value = known.plain(value)
    known.check(value)
    return value


def several(name: str, values: Any, most: int = MOST_SEEDS) -> list[Any]:
    """The items of a list, or of whatever else yields some; no more than these are asked for.

    Raises:
        UsageError: for what is none, or has too many.
    """
    is_one = isinstance(values, (str, bytes, Path)) or not isinstance(values, Iterable)
    if is_one or getattr(values, "shape", None) == ():
        raise UsageError(f"Expected a list of `{name}`, got {shown(values)}.")
    items = list(itertools.islice(values, most + 1))
    if len(items) > most:
        raise UsageError(f"Expected at most {most:,} `{name}`, got more.")
    return items


def checked_path(name: str, value: Any) -> Path:
    """A path that may or may not be there.

    Raises:
        UsageError: for what can be none.
    """
    if not isinstance(value, (str, Path)) or value == "" or "\0" in str(value):
        raise UsageError(f"Expected `{name}` to be a path, got {shown(value)}.")
    path = Path(value)
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        raise UsageError(
            f"Expected `{name}` to be a path of at most {LONGEST_PATH:,} bytes, each name in it of "
            f"at most {LONGEST_NAME}; got {shown(str(value))}."
        )
    return path


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
        chooser, value = part_of
        raise UsageError(
            f"Expected `{chooser}={value}` with `{name}`, got `{chooser}={flat(result)[chooser]}`: "
            f"without it there is nothing that `{name}` would change."
        )
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
            if not values.keys() >= set(need.names):
                continue
            if not need.holds(*(values[other] for other in need.names)):
                got = " and ".join(f"`{other}={written(values[other])}`" for other in need.names)
                raise UsageError(
                    f"Expected {need.words} with `{name}`, got {got}: without it there is nothing "
                    f"that `{name}` would change."
                )


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


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: float) -> str:
    """A number in a message, whatever its size."""
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if abs(value) <= 10**18 else shown(value)

"""Damage to one file of a run folder: its bytes, what they mean, or what is in its place."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from tests.fuzz import signing, values

NUMBERS = (0, 1, -1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**53 + 1, 2**63 - 1, 2**63,
           2**64, 10**20, int("9" * 400), float("nan"), float("inf"), -float("inf"))  # fmt: skip
OTHERS = (None, True, False, "", "0", "1", [], {}, [[]], [0], ["0"], {"": 0}, [None] * 3,
          "\x1b[31mred", "$(touch X)", "../../outside/secret.txt", "torch.py:psi", "cpu", "linear",
          "FrozenLake-v1", "reinforce", "ppo", "file.txt", "a" * 9999, "\ud800", "\0")  # fmt: skip
LINES = ("", "nan", "inf", "-1", "0", "1e400", "9" * 400, "text", '"', "\x1b[31m", "1.5", "0x1")
LINES += ("1,2", "a" * 200_000, "٣", "None", "1_0")
NAMES = ("x", "policy.x", "pending.50", "pending.x", "pending.-1", "critic.values", "ongoing.x",
         "reference.values", "\x1b[31m")  # fmt: skip
TYPES = (torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex64)
ODD_NUMBERS = (-1.0, 1e30, -1e30, float("inf"), 255.0, 2.0**62)
RESHAPED: dict[str, Callable[[Tensor], Tensor]] = {
    "doubled": lambda x: torch.cat([x, x]) if x.ndim else x.reshape(1),
    "shortened": lambda x: x[:-1].clone() if x.ndim and len(x) else x.reshape(1),
    "with another axis": lambda x: x.unsqueeze(-1),
    "flattened": lambda x: x.flatten() if x.ndim != 1 else x.unsqueeze(0),
    "emptied": lambda x: torch.zeros(0, dtype=x.dtype),
    "turned around": lambda x: x.flip(0) if x.ndim else x + 1,
}


@dataclass(frozen=True)
class Damage:
    """What was done to a file.

    Attributes:
        words: that describe it.
        signed: whether digests fit again, so that it is another run's data rather than damage.
        removed: whether a file, or an entry of one, is simply gone.
    """

    words: str
    signed: bool = False
    removed: bool = False


def damage(folder: Path, file: str, choose: random.Random) -> Damage:
    """Damage a file of a run folder, or what is around it.

    Args:
        folder: of the run; its siblings are other runs, or links' targets.
        file: its path in the folder.
        choose: how.
    """
    path = folder / file
    kinds: list[Callable[[Path, random.Random], Damage | None]] = [_bytes, _bytes, _bytes, _place]
    if path.suffix == ".json":
        kinds += [_json] * 6
    elif path.suffix == ".csv":
        kinds += [_csv] * 6
    elif path.suffix == ".safetensors":
        kinds += [_tensors] * 7
    before = path.read_bytes()
    for _ in range(20):
        found = choose.choice(kinds)(path, choose)
        if found is None or (_is_file(path) and path.read_bytes() == before):
            continue
        if path.suffix in (".json", ".csv") and _is_file(path) and choose.random() < 0.4:
            signing.sign(folder)
            found = dataclasses.replace(found, signed=True)
        return found if not found.signed else Damage(f"{found.words}, signed anew", signed=True)
    path.write_bytes(b"")
    return Damage("emptied")


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1


def _bytes(path: Path, choose: random.Random) -> Damage:
    content = path.read_bytes()
    at = choose.randrange(len(content) + 1)
    if path.suffix == ".safetensors" and choose.random() < 0.4:
        at %= 2000  # where its header is
    end = min(at + choose.choice((1, 4, 16, 512, 4096)), len(content))
    what = choose.randrange(9)
    if what <= 1 and at < len(content):
        bit = 1 << choose.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        return Damage(f"byte {at}: bit {bit} flipped")
    if what == 2:
        path.write_bytes(content[:at])
        return Damage(f"cut off at byte {at}")
    if what == 3:
        more = choose.choice((b"\0", b"\n", b"{", b",", choose.randbytes(7), b"\xff\xfe", b"1"))
        path.write_bytes(content[:at] + more + content[at:])
        return Damage(f"byte {at}: {more!r} put in")
    if what == 4:
        path.write_bytes(content[:at] + content[at:end] * 2 + content[end:])
        return Damage(f"bytes {at} to {end} doubled")
    if what == 5:
        path.write_bytes(content[:at] + bytes(end - at) + content[end:])
        return Damage(f"bytes {at} to {end} zeroed")
    if what == 6:
        path.write_bytes(content[:at] + content[end:])
        return Damage(f"bytes {at} to {end} taken out")
    if what == 7:
        more = choose.choice((content, b"\0" * 9, b"\n", b"{}", content[-50:]))
        path.write_bytes(content + more)
        return Damage(f"{len(more)} bytes put to the end")
    path.write_bytes(choose.randbytes(choose.choice((0, 1, 8, 100, 3000))))
    return Damage("replaced by noise")


def _place(path: Path, choose: random.Random) -> Damage | None:
    """Something else where the file was, or a file of another run."""
    work = next(folder for folder in path.parents if (folder.parent / "outside").is_dir())
    outside = work.parent / "outside"
    what = choose.randrange(9)
    if what == 0:
        path.unlink()
        return Damage("gone", removed=True)
    if what == 1:
        path.rename(outside / path.name)
        path.symlink_to(outside / path.name)
        return Damage("a link to itself elsewhere")
    if what == 2:
        path.unlink()
        path.symlink_to(choose.choice((outside / "secret.txt", Path("nowhere"), Path(path.name))))
        return Damage(f"a link to {os.readlink(path)}")
    if what == 3:
        path.unlink()
        os.mkfifo(path)
        return Damage("a pipe")
    if what == 4:
        path.unlink()
        path.mkdir()
        return Damage("a folder")
    if what == 5:
        os.link(path, outside / path.name)
        return Damage("a hard link from elsewhere")
    if what == 6:
        others = sorted({p for p in work.glob(f"*/**/{path.name}") if p != path and _is_file(p)})
        if not others:
            return None
        other = choose.choice(others)
        shutil.copyfile(other, path)
        return Damage(f"that of {other.relative_to(work)}")
    if what == 7:
        others = sorted(p for p in path.parent.iterdir() if p != path and _is_file(p))
        if not others:
            return None
        other = choose.choice(others)
        shutil.copyfile(other, path)
        return Damage(f"a copy of {other.name}")
    if path.parent.name == "snapshots":
        folder = path.parent
        folder.rename(outside / "snapshots")
        folder.symlink_to(outside / "snapshots")
        return Damage("its folder is a link")
    return None


def _json(path: Path, choose: random.Random) -> Damage | None:
    try:
        data = json.loads(path.read_text())
    except ValueError:
        return None
    what = choose.randrange(12)
    if what == 0:
        deep = choose.choice((100, 2000, 200_000))
        path.write_text(choose.choice(("[", '{"a":')) * deep)
        return Damage(f"nested {deep} deep")
    if what == 1:
        text = path.read_text().rstrip()
        key = choose.choice(list(data)) if isinstance(data, dict) and data else "x"
        value = json.dumps(choose.choice((*OTHERS, *NUMBERS)))
        path.write_text(f"{text[:-1]}, {json.dumps(key)}: {value}}}")
        return Damage(f"{key!r} twice, the second time {value[:60]}")
    words = mutated(data, choose)
    try:
        path.write_text(json.dumps(data, indent=choose.choice((None, 2))))
    except (ValueError, UnicodeEncodeError):
        path.write_bytes(json.dumps(data).encode(errors="surrogatepass"))
    return Damage(words)


def mutated(data: Any, choose: random.Random) -> str:
    """Change one thing somewhere in JSON data, in place, and say what."""
    spots = list(_spots(data, ""))
    if not spots:
        return "nothing to change"
    holder, key, name = choose.choice(spots)
    value = holder[key]
    what = choose.randrange(8)
    if what == 0:
        del holder[key]
        return f"{name} gone"
    if what == 1:
        if isinstance(holder, dict):
            holder[
                choose.choice(("x", "", "\x1b[31m", "$(touch X)", "__class__", str(key) + " "))
            ] = 0
            return f"something unknown beside {name}"
        holder.insert(key, value)
        return f"{name} twice"
    if what <= 3 and isinstance(value, (int, float)) and not isinstance(value, bool):
        holder[key] = choose.choice(
            (value + 1, value - 1, -value, value * 2, float(value), value / 3)
        )
    elif what == 4 and isinstance(value, list):
        holder[key] = choose.choice((value[::-1], value * 2, value[:-1], [*value, None], [value]))
    else:
        holder[key] = choose.choice(NUMBERS if choose.random() < 0.5 else OTHERS)
    return f"{name} is {str(holder[key])[:60]!r} instead of {str(value)[:60]!r}"


def _spots(data: Any, name: str) -> Any:
    if isinstance(data, (dict, list)):
        for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
            yield data, key, f"{name}/{key}"
            yield from _spots(value, f"{name}/{key}")


def _csv(path: Path, choose: random.Random) -> Damage | None:
    rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    if len(rows) < 3:
        return None
    i = choose.randrange(len(rows))
    j = choose.randrange(len(rows[i])) if rows[i] else 0
    what = choose.randrange(11)
    words = f"line {i + 1}"
    if what <= 2 and rows[i]:
        was = rows[i][j]
        value = choose.choice(LINES)
        if what == 0:
            value = was[:-1] + str((int(was[-1]) + 1) % 10) if was[-1:].isdigit() else was + "1"
        rows[i][j] = value
        words += f", column {j + 1}: {value[:40]!r} instead of {was!r}"
    elif what == 3:
        del rows[i]
        words += " gone"
    elif what == 4:
        rows.insert(i, list(rows[i]))
        words += " twice"
    elif what == 5:
        k = choose.randrange(len(rows))
        rows[i], rows[k] = rows[k], rows[i]
        words += f" and {k + 1} swapped"
    elif what == 6:
        rows = [row[:j] + row[j + 1 :] for row in rows]
        words = f"column {j + 1} gone"
    elif what == 7:
        k = choose.randrange(len(rows[0]))
        rows = [[*row] for row in rows]
        for row in rows:
            if max(j, k) < len(row):
                row[j], row[k] = row[k], row[j]
        words = f"columns {j + 1} and {k + 1} swapped"
    elif what == 8:
        rows[0][j % len(rows[0])] = choose.choice((*LINES[:8], "seed", "env_steps", "iteration"))
        words = f"another head of column {j + 1}"
    elif what == 9:
        rows[i] = rows[i][:-1] if choose.random() < 0.5 else [*rows[i], "1"]
        words += " of another length"
    else:
        rows = rows[1:]
        words = "no head"
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n" if b"\r\n" in path.read_bytes() else "\n").writerows(
        rows
    )
    path.write_bytes(text.getvalue().encode(errors="surrogatepass"))
    return Damage(words)


def _tensors(path: Path, choose: random.Random) -> Damage | None:
    """Tensors or state changed, and the file's digest made to fit."""
    try:
        tensors, header = signing.read_tensors(path)
    except (ValueError, LookupError, SafetensorError):
        return None  # an earlier damage
    what = choose.choices(("state", "header", "tensors"), (4, 1, 5))[0]
    if what == "state":
        state = json.loads(header["state"])
        words = "state " + mutated(state, choose)
        header["state"] = json.dumps(state)
    elif what == "header":
        words = "header " + mutated(header, choose)
    else:
        words = _changed(tensors, choose)
    write = signing.write_unsigned if what == "header" else signing.write_tensors
    try:
        write(path, tensors, header)
    except (RuntimeError, ValueError, SafetensorError):
        return None
    return Damage(words, signed=True)


def _changed(tensors: dict[str, Tensor], choose: random.Random) -> str:
    name = choose.choice(sorted(tensors))
    x = tensors[name]
    what = choose.choice((*RESHAPED, *OTHER_VALUES, "gone", "another"))
    if what == "gone":
        del tensors[name]
        return f"{name} gone"
    if what == "another":
        new = choose.choice(NAMES)
        tensors[new] = x.clone()
        return f"a tensor {new!r} like {name}"
    if what in RESHAPED:
        tensors[name] = RESHAPED[what](x).contiguous()
    else:
        tensors[name] = OTHER_VALUES[what](x, choose)
    to = tensors[name]
    return f"{name} {what}: {x.dtype} {list(x.shape)} to {to.dtype} {list(to.shape)}"


def _negated(x: Tensor, _: random.Random) -> Tensor:
    if x.dtype == torch.bool:
        return ~x
    return -x if x.is_floating_point() else torch.full_like(x, -1 if x.dtype.is_signed else 255)


def _with(x: Tensor, value: float, choose: random.Random) -> Tensor:
    """One entry replaced, as far as the type can hold the value."""
    x = x.clone()
    if x.numel():
        try:
            x.view(-1)[choose.randrange(x.numel())] = value
        except (RuntimeError, ValueError, OverflowError):
            x.view(-1)[0] = 1
    return x


OTHER_VALUES: dict[str, Callable[[Tensor, random.Random], Tensor]] = {
    "of another type": lambda x, choose: x.to(choose.choice(TYPES)),
    "with a NaN": lambda x, choose: _with(x, float("nan"), choose),
    "with an odd number": lambda x, choose: _with(x, choose.choice(ODD_NUMBERS), choose),
    "negated": _negated,
}


def renamed(folder: Path, choose: random.Random) -> Path:
    """The run folder under a name that a terminal or a shell could misread."""
    name = choose.choice([t for t in values.TEXTS if 0 < len(t) < 200 and t not in "- -- ../.."])
    new = folder.with_name(name.replace("/", "_") + "_")
    return folder.rename(new)

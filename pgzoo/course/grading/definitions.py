"""A learner's function out of a submission: definitions are taken, experiments are left out.

Of a file's code, in its order, imports are taken, definitions of functions and classes, and
assignments in which nothing is called (``GAMMA = 0.99``, ``f = g``, ``f = lambda x: …``); of what
binds the function's own name, any assignment. All else is left out, so that grading takes seconds
and no experiment can hinder it. What cannot be read, or raises, is left out as well and noted.
Everything here runs in the learner's own process.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

MODULE = "submission"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
ASSIGNMENTS = (ast.Assign, ast.AnnAssign)
CALLING = (ast.Call, ast.Await, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
PYTHON_MAGICS = ("capture", "prun", "time", "timeit")
"""Cells under these are Python all the same."""


@dataclass(frozen=True)
class Found:
    """A function of a submission.

    Attributes:
        function: None if there is none.
        file: that it is in; the empty text if there is none.
        notes: what was left out though its name stands in it, and why.
        readable: whether any code could be read at all.
    """

    function: Callable[..., Any] | None
    file: str
    notes: Sequence[str]
    readable: bool


@dataclass
class _Code:
    """The definitions of a file: where each stands, and what was left out."""

    file: str
    statements: list[tuple[str, ast.stmt]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pieces: int = 0


def find(files: Mapping[str, bytes], name: str, chapter: int) -> Found:
    """Look for a function and run what it needs.

    Args:
        files: of the submission, by path.
        name: of the function.
        chapter: number of its notebook. Where several files define the function, one that does more
            than raise ``NotImplementedError`` comes first, then the chapter's own, then the first
            by name.
    """
    naming = [path for path in sorted(files) if name.encode() in files[path]]
    codes = [_code(path, files[path], name) for path in naming or sorted(files)]
    notes = [note for code in codes for note in code.notes]
    readable = any(code.pieces for code in codes)
    binding = [c for c in codes if any(name in _bound(x) for _, x in c.statements)]
    if not binding:
        return Found(None, "", notes, readable)

    def rank(code: _Code) -> tuple[bool, bool]:
        last = [x for _, x in code.statements if name in _bound(x)][-1]
        own = PurePosixPath(code.file).name.startswith(f"{chapter}_")
        return is_stub(last), not own

    code = min(binding, key=rank)
    sys.meta_path.append(_OwnModules(files))
    names = _run(code)
    function = names.get(name)
    return Found(function if callable(function) else None, code.file, code.notes, readable)


def is_stub(statement: ast.stmt) -> bool:
    """Whether a definition does nothing but raise ``NotImplementedError``, as in the hand-out."""
    if not isinstance(statement, ast.FunctionDef):
        return False
    body = [x for x in statement.body if not isinstance(getattr(x, "value", None), ast.Constant)]
    if len(body) != 1 or not isinstance(body[0], ast.Raise):
        return False
    raised = body[0].exc
    named = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(named, ast.Name) and named.id == NotImplementedError.__name__


def _code(path: str, content: bytes, name: str) -> _Code:
    code = _Code(path)
    try:
        pieces = list(_pieces(path, content))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        code.notes.append(f"{path} is no notebook ({type(error).__name__}: {error})")
        return code
    for where, source in pieces:
        try:
            tree = _parsed(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if name in source:
                code.notes.append(f"{where} was left out ({type(error).__name__}: {error})")
            continue
        code.pieces += 1
        code.statements += [(where, x) for x in tree.body if _is_taken(x, name)]
    return code


def _pieces(path: str, content: bytes) -> Iterator[tuple[str, str]]:
    """Cells or the whole, with the names that errors call them by."""
    text = content.decode("utf-8-sig")
    if not path.endswith(".ipynb"):
        yield path, text
        return
    for number, cell in enumerate(json.loads(text)["cells"], start=1):
        if cell["cell_type"] == "code":
            yield f"{path}, cell {number}", "".join(cell["source"])


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(as_python(source))


def as_python(source: str) -> str:
    """A cell without magics and shell escapes."""
    from IPython.core.inputtransformer2 import TransformerManager

    magic = re.match(r"\s*%%(\w+).*\n?", source)
    if magic is not None:
        source = source[magic.end() :] if magic[1] in PYTHON_MAGICS else ""
    return TransformerManager().transform_cell(source)


def _is_taken(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, (*DEFINITIONS, *IMPORTS)):
        return True
    if not isinstance(statement, ASSIGNMENTS) or statement.value is None:
        return False
    return name in _bound(statement) or not _calls(statement.value)


def _calls(node: ast.AST) -> bool:
    """Whether anything is called when an expression is evaluated."""
    if isinstance(node, ast.Lambda):
        return False
    return isinstance(node, CALLING) or any(_calls(child) for child in ast.iter_child_nodes(node))


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a statement gives a value."""
    if isinstance(statement, DEFINITIONS):
        return {statement.name}
    if isinstance(statement, IMPORTS):
        return {x.asname or x.name for x in statement.names}
    if isinstance(statement, ast.Assign):
        places = ast.walk(ast.Tuple(statement.targets))
    elif isinstance(statement, ast.AnnAssign):
        places = ast.walk(statement.target)
    return {x.id for x in places if isinstance(x, ast.Name)}


def _run(code: _Code) -> dict[str, Any]:
    """Run the definitions one by one, in a module of their own."""
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    names, flags = vars(module), 0
    names["display"] = print  # notebooks have it; what is printed goes nowhere
    for where, statement in code.statements:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            features = (getattr(__future__, x.name, None) for x in statement.names)
            flags |= sum(x.compiler_flag for x in features if x is not None)
        try:
            tree = ast.Module([statement], [])
            exec(builtins.compile(tree, where, "exec", flags, dont_inherit=True), names)
        except (Exception, SystemExit) as error:
            line = f"line {statement.lineno} of {where}"
            code.notes.append(f"{line} was left out ({type(error).__name__}: {error})")
    return names


class _OwnModules(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Files of the submission as modules that its code may import, after all others."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        paths = {PurePosixPath(p).stem: p for p in sorted(files, reverse=True) if p.endswith(".py")}
        self._sources = {stem: (path, files[path]) for stem, path in paths.items()}

    def find_spec(
        self, fullname: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module, if there is a file of its name."""
        if fullname not in self._sources:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self._sources[fullname][0])

    def get_source(self, fullname: str) -> str:
        """Its text."""
        return importlib.util.decode_source(self._sources[fullname][1])

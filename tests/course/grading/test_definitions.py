import json
import sys

import pytest

from pgzoo.course.grading import definitions
from pgzoo.course.grading.definitions import as_python


@pytest.fixture(autouse=True)
def _as_before():
    path, modules = list(sys.meta_path), set(sys.modules)
    yield
    sys.meta_path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def notebook(*cells, **more):
    made = [c if isinstance(c, dict) else {"cell_type": "code", "source": c} for c in cells]
    return json.dumps({"cells": made, "nbformat": 4} | more).encode()


def find(files, name="f", chapter=5):
    if isinstance(files, str):
        files = {"a.py": files.encode()}
    if isinstance(files, bytes):
        files = {"a.ipynb": files}
    return definitions.find(files, name, chapter)


def test_definitions_of_a_notebook_are_run_in_order():
    found = find(
        notebook(
            "import math\nSCALE = -2 * 3",
            {"cell_type": "markdown", "source": "f = 3"},
            ["def helper(x):\n", "    return x * SCALE"],
            "def f(x):\n    return helper(x) + math.floor(0.5)",
        )
    )
    assert found.function(2) == -12
    assert (found.file, list(found.notes), found.readable) == ("a.ipynb", [], True)


def test_experiments_are_left_out():
    found = find(
        notebook(
            "raise SystemExit",
            "while True: pass",
            "x = undefined_experiment()",
            "if True:\n    SCALE = 7",
            "SCALE = 3\nprint(1 / 0)\n",
            "def f(x):\n    return SCALE * x",
            "f(1) / 0",
            "SCALE = 5",
        )
    )
    assert found.function(2) == 10
    assert list(found.notes) == []


@pytest.mark.parametrize(
    "statement",
    [
        "X = 3",
        "X: int = 3",
        "X, Y = 3, 4",
        "X = Y = 3",
        "X = {'a': [3]}['a'][0]",
        "X = 3 if True else 4",
        "g = lambda: 3\nX = 3",
        "import math as X\nX = 3",
        "class X:\n    pass\nX = 3",
    ],
)
def test_assignments_without_a_call_are_taken(statement):
    assert find(f"{statement}\ndef f():\n    return X").function() == 3


@pytest.mark.parametrize("value", ["print(1)", "[print(1)][0]", "[x for x in range(3)]"])
def test_assignments_with_a_call_are_left_out(value):
    found = find(f"X = {value}\ndef f():\n    return X")
    with pytest.raises(NameError):
        found.function()


def test_what_binds_the_function_s_own_name_is_taken_whatever_it_calls():
    code = "import functools\ndef g(x, y):\n    return x - y\nf = functools.partial(g, 1)\n"
    assert find(code).function(3) == -2
    assert find("f = lambda x: x + 1").function(1) == 2
    assert find("from math import floor as f").function(1.5) == 1


def test_the_last_definition_counts_as_in_a_notebook():
    assert find(notebook("def f():\n    return 1", "def f():\n    return 2")).function() == 2


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("%matplotlib inline\ndef f():\n    return 1", 1),
        ("!pip install x\ndef f():\n    return 1", 1),
        ("%%time\ndef f():\n    return 1", 1),
        ("print?\ndef f():\n    return 1", 1),
        ("def f():\n    return '''\n%time\n!ls'''", "\n%time\n!ls"),
    ],
)
def test_magics_and_escapes_are_left_out(cell, value):
    found = find(notebook(cell))
    assert found.function() == value
    assert list(found.notes) == []


def test_cells_of_another_language_are_left_out():
    assert not as_python("%%bash\nrm -rf x").strip()
    assert find(notebook("%%bash\ndef f(", "def f():\n    return 1")).function() == 1


def test_a_cell_that_is_no_python_is_noted_only_if_the_name_stands_in_it():
    assert find(notebook("def f():\n    return 1", "g g")).function() == 1
    found = find(notebook("def f(:\n", "x = 1"))
    assert found.function is None
    assert found.readable
    assert found.notes[0].startswith("a.ipynb, cell 1 was left out (SyntaxError")


def test_what_notebooks_have_without_an_import():
    assert find("def f():\n    display(1)\n    return 1").function() == 1


def test_an_import_that_fails_leaves_the_rest():
    found = find("import no_such_module\ndef f():\n    return 1")
    assert found.function() == 1
    assert "line 1 of a.py was left out (ModuleNotFoundError" in found.notes[0]


def test_annotations_of_the_future():
    found = find(
        "from __future__ import annotations\ndef f(x: Undefined) -> Nothing:\n    return 1"
    )
    assert found.function(0) == 1


def test_a_data_class_can_be_defined():
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int\ndef f():\n    return A(3).x"
    )
    assert find(code).function() == 3


def test_modules_of_the_submission_can_be_imported():
    files = {
        "sub/helpers.py": b"import math\nVALUE = math.floor(3.5)\n",
        "a.ipynb": notebook("from helpers import VALUE\ndef f():\n    return VALUE"),
    }
    assert find(files).function() == 3


def test_no_module_of_a_submission_hides_an_installed_one():
    files = {"json.py": b"VALUE = 1", "a.py": b"import json\ndef f():\n    return json.dumps(1)"}
    assert find(files).function() == "1"


STUB = b'def f():\n    """To write."""\n    raise NotImplementedError("f: your lines here")\n'


def test_which_of_several_files_counts():
    one, two = b"def f():\n    return 1", b"def f():\n    return 2"
    assert find({"a.py": one, "b.py": two}).function() == 1
    assert find({"a.py": one, "x/5_leave_one_out.ipynb": notebook(two.decode())}).function() == 2
    assert find({"5_leave_one_out.py": STUB, "b.py": two}).function() == 2
    found = find({"a.py": STUB, "5_leave_one_out.ipynb": notebook(STUB.decode())})
    assert found.file == "5_leave_one_out.ipynb"
    with pytest.raises(NotImplementedError):
        found.function()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\x00" * 100,
        b'{"cells": 3}',
        b'{"cells": [{}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_notebook_is_noted(content):
    found = find({"a.ipynb": content})
    assert found.function is None
    assert not found.readable
    assert "a.ipynb is no notebook" in found.notes[0]


def test_what_is_no_python_is_noted():
    found = find({"a.py": b"\xff\xfe\x00"})
    assert not found.readable
    assert found.notes


def test_a_value_that_is_no_function_is_none():
    assert find("f = 3").function is None

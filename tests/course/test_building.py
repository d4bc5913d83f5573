"""Sources become notebooks: what is written, and what is refused."""

import copy
import textwrap

import nbformat
import pytest
from click.testing import CliRunner

from notebooks import build

EXERCISE = '''
# %% tags=["exercise", "{name}"]
def {name}(x):
    """What is to be returned."""
    ### BEGIN SOLUTION
    # by the definition
    {line}
    ### END SOLUTION

# %%
check("{name}", {name})
'''
NAMES = {"one": "return x + 11", "two": "return x + 22", "three": "return x + 33"}
HEAD = """
# %% [markdown]
# # A chapter

# %%
def check(name, function):
    return f"{name}: right" if function(1) < 50 else f"{name}: wrong"
"""
LAST = '''
# %% tags=["exercise", "four"]
def four(x):
    """What is to be returned."""
    if x:
        ### BEGIN SOLUTION
        y = x + 44
        return y
        ### END SOLUTION
    return 0

# %%
check("four", four)
'''
SOURCE = (
    HEAD.lstrip() + "".join(EXERCISE.format(name=n, line=line) for n, line in NAMES.items()) + LAST
)

PAGE = "Before.\n<!-- chapters -->\nold\n<!-- end of chapters -->\nAfter.\n"


@pytest.fixture
def read(tmp_path):
    def read(source):
        path = tmp_path / "3_demo.py"
        path.write_text(source, encoding="utf-8")
        return build.read(path)

    return read


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("sources", "solutions", "student"):
        monkeypatch.setattr(build, name.upper(), tmp_path / name)
    (tmp_path / "sources").mkdir()
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(build, "PAGES", [tmp_path / "page.md"])
    return tmp_path


def test_the_solution_stands_without_its_markers(read):
    cell = build.solution(read(SOURCE)).cells[-2]
    assert (
        cell.source
        == textwrap.dedent('''
        def four(x):
            """What is to be returned."""
            if x:
                y = x + 44
                return y
            return 0
        ''').strip()
    )
    assert cell.metadata.tags == ["exercise", "four"]


def test_learners_get_a_stub_where_the_solution_was(read):
    cell = build.student(read(SOURCE)).cells[-2]
    assert (
        cell.source
        == textwrap.dedent('''
        def four(x):
            """What is to be returned."""
            if x:
                raise NotImplementedError("four: your lines here")
            return 0
        ''').strip()
    )


def test_a_hand_out_links_to_no_file_that_it_has_not(read):
    chapter = read(SOURCE.replace("# # A chapter", "# # A chapter\n# See [`x.py`](../../x.py)."))
    assert chapter.notebook.cells[0].source.endswith("See [`x.py`](../../x.py).")
    assert build.student(chapter).cells[0].source.endswith("See `x.py`.")


def test_nothing_else_differs(read):
    chapter = read(SOURCE)
    solved, open_ = build.solution(chapter), build.student(chapter)
    for s, o in zip(solved.cells, open_.cells, strict=True):
        assert s.id == o.id
        assert (s.source == o.source) != build.is_exercise(s)


def test_ids_stay_as_they_are_when_a_cell_is_put_before(read):
    before = [cell.id for cell in read(SOURCE).notebook.cells]
    after = [cell.id for cell in read("# %%\n1 + 1\n" + SOURCE).notebook.cells]
    assert after[1:] == before
    assert {"one", "two", "three", "four"} < set(before)


def test_equal_cells_have_ids_of_their_own(read):
    cells = read(SOURCE + "\n# %%\n1 + 1\n\n# %%\n1 + 1\n").notebook.cells
    assert cells[-1].id == f"{cells[-2].id}-2"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('    ### END SOLUTION\n\n# %%\ncheck("one"', '\n# %%\ncheck("one"', "no partner"),
        ("    ### BEGIN SOLUTION\n    # by the definition\n    return x + 11", "", "no partner"),
        ("### END SOLUTION", "### END SOLUTION ###", "not alone on its line"),
        ('tags=["exercise", "two"]', "", "a cell without tags"),
        ('["exercise", "two"]', '["exercise"]', "with one name"),
        ('["exercise", "two"]', '["exercise", "two", "too"]', "with one name"),
        ('["exercise", "two"]', '["exercise", "other"]', "define its function other"),
        ('"exercise", "two"', '"exercise", "one"', "define its function one"),
        ('check("two", two)', "two(1)", "after exercise two calls"),
        ('check("two", two)', 'check("twofold", two)', "after exercise two calls"),
        ("# # A chapter", "#", "cell 1 .*: Expected a cell to hold something"),
        ("# %%\ndef check", "# %% Lost words\ndef check", "Lost words.* where it is lost"),
        ("# # A chapter", "# A chapter", "begins with the chapter's title"),
        (LAST, "", "at least 4 exercises; found 3"),
        (LAST, LAST + LAST, "More than one exercise is named four"),
        ("# # A chapter", "# # A chapter\n#     return x + 22", "solution of exercise two can be"),
        ("    return x + 22\n", "", "solution of exercise two is empty"),
        (
            "    ### BEGIN SOLUTION\n    # by the definition\n    return x + 22\n"
            "    ### END SOLUTION\n",
            "    return x + 22\n",
            "exercise to hold",
        ),
    ],
)
def test_what_is_ill_formed_is_refused(read, old, new, message):
    assert old in SOURCE
    with pytest.raises(build.IllFormedError, match=message) as error:
        read(SOURCE.replace(old, new))
    assert str(error.value).startswith("3_demo.py")


def test_names_of_sources(folder):
    for name in ("10_last.py", "2_second.py"):
        (folder / "sources" / name).touch()
    assert [path.name for path in build.sources()] == ["2_second.py", "10_last.py"]
    (folder / "sources" / "draft.py").touch()
    with pytest.raises(build.IllFormedError, match=r"N_name\.py; got draft\.py"):
        build.sources()


def make(*arguments):
    return CliRunner().invoke(build.main, arguments)


def test_both_notebooks_are_made_and_made_again_alike(folder):
    (folder / "sources" / "3_demo.py").write_text(SOURCE, encoding="utf-8")
    found = []
    for _ in range(2):
        result = make("3")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("3_demo: ")
        found.append({path.name: path.read_bytes() for path in folder.glob("s[ot]*/*.ipynb")})
    assert found[0] == found[1]
    solved = nbformat.read(folder / "solutions" / "3_demo.ipynb", as_version=4)
    assert solved.cells[-1].outputs[0].data["text/plain"] == "'four: right'"
    assert (folder / "page.md").read_text(encoding="utf-8") == (
        "Before.\n<!-- chapters -->\n| chapter | exercises |\n|---|---|\n"
        "| [A chapter](solutions/3_demo.ipynb) | `one`, `two`, `three`, `four` |\n"
        "<!-- end of chapters -->\nAfter.\n"
    )
    learners = nbformat.read(folder / "student" / "3_demo.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in learners.cells)


def test_an_error_names_its_cell_and_leaves_no_solution(folder):
    (folder / "sources" / "3_demo.py").write_text(SOURCE + "\n# %%\n1 / 0\n", encoding="utf-8")
    result = make()
    assert result.exit_code == 1
    assert "3_demo, cell 11 (`1 / 0`) fails" in result.stderr
    assert "ZeroDivisionError" in result.stderr
    assert not (folder / "solutions").exists()


def test_a_solution_that_is_not_right_is_refused(folder):
    source = SOURCE.replace("x + 22", "x + 222")
    (folder / "sources" / "3_demo.py").write_text(source, encoding="utf-8")
    result = make()
    assert result.exit_code == 1
    assert "solution of exercise two is not right: [\"'two: wrong'\"]" in result.stderr
    assert not (folder / "solutions").exists()


def test_a_chapter_that_is_not_there(folder):
    result = make("4")
    assert result.exit_code == 1
    assert "No source has the number [4]" in result.stderr


def shown(**output):
    cell = nbformat.v4.new_code_cell("f()")
    cell.outputs = [nbformat.from_dict(output)]
    return nbformat.v4.new_notebook(cells=[cell])


def test_warnings_and_addresses_are_refused():
    noise = {"output_type": "stream", "name": "stderr", "text": "UserWarning: …"}
    with pytest.raises(build.IllFormedError, match="writes to stderr"):
        build.check_outputs(shown(**noise))
    data = {"text/plain": "<object at 0x7f00>"}
    result = {"output_type": "execute_result", "metadata": {}, "execution_count": 1}
    bare = shown(**result, data=data)
    build.tidy(bare)
    with pytest.raises(build.IllFormedError, match="shows an address"):
        build.check_outputs(bare)
    build.check_outputs(shown(**result, data=data | {"image/png": ""}))


def test_bars_and_names_of_temporary_folders_are_not_stored(tmp_path):
    bar = {"output_type": "display_data", "metadata": {}, "data": {build.WIDGET: {}}}
    notebook = shown(**bar)
    build.tidy(notebook)
    assert notebook.cells[0].outputs == []
    folder = f"{build.tempfile.gettempdir()}/pgzoo-a1b2_3/run"
    notebook = shown(output_type="stream", name="stdout", text=f"in {folder}")
    expected = copy.deepcopy(notebook)
    expected.cells[0].outputs[0].text = "in …/run"
    build.tidy(notebook)
    assert notebook == expected


def test_tables_of_pandas_are_stored_alike():
    def stored(drawn, address):
        html = f'<style>#T_{drawn} th {{}}</style><table id="T_{drawn}"><td id="T_{drawn}_row0"/>'
        data = {"text/html": html, "text/plain": f"<pandas.Styler at {address}>"}
        notebook = shown(output_type="display_data", metadata={}, data=data)
        notebook.cells[0].id = "a-cell"
        build.tidy(notebook)
        return notebook

    assert stored("0a1b2", "0x7f22") == stored("fedcb", "0x6d51")
    assert 'id="T_a-cell_row0"' in stored("0a1b2", "0x7f22").cells[0].outputs[0].data["text/html"]

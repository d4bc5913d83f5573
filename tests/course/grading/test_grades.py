import csv
import json

import pytest

from pgzoo.course.grading.grades import COLUMNS, Grade, write_grades
from pgzoo.errors import UsageError


def test_a_line_for_each_grade_and_times_apart(tmp_path):
    grades = [
        Grade("anna", 5, "leave_one_out", "wrong", "No, “−1”.", "wrong-sign", "a.py", 0.5),
        Grade("bob", 5, "leave_one_out", "right", "All, and\nso on.", seconds=0.25),
    ]
    write_grades(tmp_path / "grades.csv", grades, {"seed": 3})
    with (tmp_path / "grades.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [
        list(COLUMNS),
        ["anna", "5", "leave_one_out", "wrong", "wrong-sign", "No, “−1”.", "a.py"],
        ["bob", "5", "leave_one_out", "right", "", "All, and\nso on.", ""],
    ]
    assert json.loads((tmp_path / "grades.json").read_text()) == {
        "seed": 3,
        "times": {"anna: leave_one_out": 0.5, "bob: leave_one_out": 0.25},
    }


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", " =1"])
def test_no_cell_is_a_formula(tmp_path, name):
    write_grades(tmp_path / "grades.csv", [Grade(name, 5, "f", "right", name, file=name)], {})
    with (tmp_path / "grades.csv").open(newline="") as file:
        _, line = csv.reader(file)
    assert [line[0], line[5], line[6]] == ["'" + name] * 3


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(UsageError, match="Cannot write"):
        write_grades(tmp_path / "none" / "grades.csv", [], {})

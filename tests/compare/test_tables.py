import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest

from pgzoo.compare.judge import pairs_of, savings_of
from pgzoo.compare.tables import (
    as_latex,
    as_markdown,
    contenders_in_words,
    contenders_table,
    pairs_in_words,
    pairs_table,
    write_tables,
)
from tests.compare.outcomes import BUDGET, made

HIGH = (90.0, 91.0, 92.0, 93.0, 94.0, 95.0, 96.0, 97.0)
OUTCOMES = [made("ppo", returns=[10, 20, 30, 40, 50, 60]), made("rloo", returns=HIGH, failed=(1,))]


def test_contenders_are_in_the_table_best_first_with_their_figures():
    table = contenders_table(OUTCOMES).set_index("contender")
    assert list(table.index) == ["rloo", "ppo"]
    assert table.iqm["ppo"] == 35
    assert table.iqm_low["ppo"] < 35 < table.iqm_high["ppo"]
    assert (table.runs["rloo"], table.failed["rloo"]) == (8, 1)
    assert table.common_budget["ppo"] == BUDGET
    assert table.share_reached["ppo"] == pytest.approx(5 / 6)
    # One never reaches it, the others after half of the budget.
    assert table.steps_to_threshold["ppo"] == pytest.approx((5 * BUDGET / 2 + BUDGET) / 6)
    # Straight lines from 0: half of the final return, but for the first points.
    assert table.area["ppo"] == pytest.approx(35 / 2, rel=0.02)
    assert table.area_steps.tolist() == [BUDGET, BUDGET]


def test_seconds_to_the_threshold_are_compared_as_far_as_all_are_known():
    fast, slow = made("ppo", returns=[20] * 5), made("rloo", returns=[20] * 4 + [1])
    seconds = fast.metrics["seconds"].max()
    reached = tuple(None if s is None else seconds / 4 for s in slow.steps_to_threshold)
    slow = dataclasses.replace(slow, seconds_to_threshold=reached)
    fast = dataclasses.replace(fast, seconds_to_threshold=(seconds / 2,) * 5)
    table = contenders_table([fast, slow]).set_index("contender")
    assert table.common_seconds.tolist() == [seconds, seconds]
    assert table.seconds_to_threshold["ppo"] == seconds / 2
    assert table.seconds_to_threshold["rloo"] == pytest.approx((4 * seconds / 4 + seconds) / 5)
    untimed = made("grpo", returns=[20] * 5, timed=False)
    assert contenders_table([fast, untimed]).seconds_to_threshold.isna().all()


def test_pairs_have_both_questions_in_one_line():
    table = pairs_table(pairs_of(OUTCOMES), savings_of(OUTCOMES))
    (line,) = table.to_dict("records")
    assert (line["first"], line["second"]) == ("ppo", "rloo")
    assert line["probability"] == pytest.approx(1 / 8)  # of the failed run
    assert line["better"] == "rloo"
    assert line["steps_ratio"] > 0
    assert "steps_ratio" not in pairs_table(pairs_of(OUTCOMES))


def test_files_can_be_read_back(tmp_path):
    pairs, savings = pairs_of(OUTCOMES), savings_of(OUTCOMES)
    files = write_tables(tmp_path, OUTCOMES, pairs, savings)
    assert [f.name for f in files] == [
        f"{name}.{suffix}" for name in ("contenders", "pairs") for suffix in ("csv", "md", "tex")
    ]
    for name, table in (
        ("contenders", contenders_table(OUTCOMES)),
        ("pairs", pairs_table(pairs, savings)),
    ):
        read = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=True)
        filled = table.replace("", np.nan)
        pd.testing.assert_frame_equal(read, filled, check_dtype=False)
    words = contenders_in_words(contenders_table(OUTCOMES))
    lines = (tmp_path / "contenders.md").read_text().splitlines()
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert head == [c.replace("<", "&lt;") for c in words.columns]
    assert len(lines) == 2 + len(OUTCOMES)


def test_one_alone_has_no_pairs(tmp_path):
    alone = [made("ppo", threshold=None)]
    files = write_tables(tmp_path, alone, pairs_of(alone), savings_of(alone))
    assert {f.stem for f in files} == {"contenders"}
    words = contenders_in_words(contenders_table(alone))
    assert not [c for c in words.columns if "steps to" in c or "reached" in c]
    assert pairs_in_words(pairs_table([])).empty


def test_few_runs_have_points_without_intervals():
    words = contenders_in_words(contenders_table([made("ppo", returns=(1, 2, 3))])).iloc[0]
    assert words["interquartile mean"] == "2.0"
    assert words["next run"] == "–"


def test_a_column_has_the_same_digits_everywhere():
    few = [made("ppo", returns=[0.1] * 6), made("rloo", returns=[100.0] * 6)]
    words = contenders_in_words(contenders_table(few))
    assert list(words["interquartile mean"]) == ["100.0 [100.0, 100.0]", "0.1 [0.1, 0.1]"]


def test_strange_labels_do_not_break_a_table():
    table = pd.DataFrame({"contender": ["a|b\\<i>\nc", "50% $x_1$ & {y}"]})
    markdown = as_markdown(table)
    assert len(markdown.splitlines()) == 4
    assert "a\\|b\\\\&lt;i> c" in markdown
    latex = as_latex(table)
    assert "50\\% \\$x\\_1\\$ \\& \\{y\\}" in latex
    assert re.search(r"\\toprule", latex)
    assert pd.read_csv(io.StringIO(table.to_csv(index=False))).contender[0] == "a|b\\<i>\nc"

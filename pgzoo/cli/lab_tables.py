"""The laboratory's tables on screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from pgzoo.lab.problem import short_label
from pgzoo.lab.report import in_words
from pgzoo.lab.statistics import RATIOS, VERDICTS
from pgzoo.records.intervals import Interval
from pgzoo.records.terminal import Terminal

if TYPE_CHECKING:
    from pgzoo.lab.measurement import Measurement
    from pgzoo.lab.studies import StudyResult

COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
VERDICT_STYLES = dict(zip(VERDICTS, ("green", "yellow", "red", "dim"), strict=True))


def print_measurement(console: Terminal, result: Measurement) -> None:
    """The table on screen."""
    p = result.problem
    console.print(
        f"{p.env}, {p.label}, {p.objective}: {result.settings.trajectories} trajectories per "
        f"estimate\ng* is {'exact' if result.reference == 'exact' else 'the ' + result.reference},"
        f" ‖g*‖ = {np.linalg.norm(result.gradient):.4g}",
        highlight=False,
    )
    for kind, share in result.explained_variance.items():
        name = {"state": "V(s)", "action": "q(s, a)"}[kind]
        text = "has nothing to explain: all returns are equal"
        if not np.isnan(share):
            text = f"explains {share:.0%} of the returns' variance"
        console.print(f"critic {name} {text}")
    _print_rows(
        console,
        "Spread of the estimates; all 95% intervals are in lab.csv",
        ("variance", "relative variance", "MSE", "cos(ĝ, g*)", "steps"),
        [
            (
                row.estimator,
                _number(row.properties.variance.point),
                _short(row.properties.relative_variance),
                _number(row.properties.mse.point),
                _number(row.properties.cosine.point),
                f"{row.steps:,.0f}",
            )
            for row in result.rows
        ],
    )
    _print_rows(
        console,
        "Bias; the chance that any estimator is called rescaled or turned and is not: 5%",
        ("scale", "cos(mean, g*)", "verdict"),
        [
            (
                row.estimator,
                _number(row.properties.scale.point),
                _number(row.properties.direction.point),
                Text(in_words(row), VERDICT_STYLES[row.verdict]),
            )
            for row in result.rows
        ],
    )
    s = result.seconds
    console.print(
        f"{result.rows[0].estimates if result.rows else 0:,} estimates of each; environment "
        f"{s['environment']:.0f} s, everything else {s['total'] - s['environment']:.0f} s",
        highlight=False,
    )


def _print_rows(
    console: Terminal,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, *tuple[str | Text, ...]]],
) -> None:
    """A table whose rows start with an estimator."""
    table = _table(title, columns)
    for estimator, *cells in rows:
        table.add_row(short_label(estimator), *cells)
    console.print(table)


def _table(title: str, columns: Sequence[str], x_title: str = "") -> Table:
    """With a column for what a study changes, if it is named, and one for estimators."""
    table = Table(title=title, title_justify="left", **COMPACT)
    if x_title:
        table.add_column(x_title, justify="right", max_width=14)
    table.add_column("estimator", overflow="fold", min_width=18)
    for name in columns:
        table.add_column(name, justify="left" if name == "verdict" else "right")
    return table


def print_study(console: Terminal, result: StudyResult) -> None:
    """A study's table on screen; intervals are in ``lab.csv`` and the figure."""
    study = result.study
    console.print(result.title, highlight=False)
    along = bool(study.x_title)
    columns = [q.replace("_", " ") for q in study.panels]
    table = _table("", columns if along else [*columns, "verdict"], study.x_title)
    if not along:  # names and verdicts in two lines, if need be
        table.columns[0].min_width, table.columns[-1].width = 14, len("same direction,")
    for point in result.points:
        row = point.row
        cells = [_number(getattr(row.properties, q).point) for q in study.panels]
        x = [f"{point.x:g}"] if along else []
        verdict = [] if along else [Text(row.verdict, VERDICT_STYLES[row.verdict])]
        table.add_row(*x, short_label(row.estimator), *cells, *verdict)
    console.print(table)
    if result.contrasts:
        _print_contrasts(console, result)


def _print_contrasts(console: Terminal, result: StudyResult) -> None:
    assert result.study.contrast is not None
    one, other = result.study.contrast
    table = _table(f"{one} against {other}", ("quantity", "ratio [95%]", "p"))
    table.columns[2].no_wrap = True
    for contrast in result.contrasts:
        label = short_label(contrast.a.removesuffix(one).rstrip(":,"))
        kind = "" if contrast.quantity in RATIOS else ", difference"
        p = contrast.found.p_value
        table.add_row(
            label,
            f"{contrast.quantity.replace('_', ' ')}{kind}",
            _short(contrast.found.interval),
            "<0.0001" if p < 1e-4 else f"{p:.4f}" if p <= 1 else "unknown",
        )
    console.print(table)


def _short(interval: Interval) -> str:
    """Three figures, with the interval, for a table on screen."""
    if np.isnan(interval.low):
        return _number(interval.point)
    return f"{_number(interval.point)} [{interval.low:.3g}, {interval.high:.3g}]"


def _number(x: float) -> str:
    """Three figures."""
    if np.isnan(x):
        return "unknown"
    return "∞" if np.isposinf(x) else f"{x:.3g}"

"""What a measurement leaves behind: table, ``lab.json``, ``lab.csv``, figures, TensorBoard."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pgzoo.errors import UsageError
from pgzoo.lab.measurement import Measurement, Row
from pgzoo.lab.problem import short_label
from pgzoo.lab.statistics import Properties
from pgzoo.records.intervals import Interval
from pgzoo.records.plots import Panel, dots, save
from pgzoo.records.run_folder import LIBRARIES

FIGURES = tuple(f.name for f in dataclasses.fields(Properties) if f.name != "p_value")
PANELS = {
    "variance": Panel("variance, trace of the covariance", log=True),
    "relative_variance": Panel("relative variance, trace / ‖mean‖²", log=True),
    "snr": Panel("signal-to-noise ratio", log=True),
    "bias_squared": Panel("squared bias, ‖mean − g*‖²", target=0.0),
    "scale": Panel("scale, ⟨mean, g*⟩ / ‖g*‖²", target=1.0),
    "direction": Panel("direction, cos(mean, g*)", target=1.0),
    "cosine": Panel("cosine of single estimates with g*", target=1.0),
    "mse": Panel("mean squared error, E‖ĝ − g*‖²", log=True),
}
SHOWN = ("relative_variance", "direction", "scale", "variance")
COMPACT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
SIGNIFICANT = 0.05
BIASES = ("biased (p < 0.05, Holm)", "no bias found", "not known: noise, or too few estimates")


def print_measurement(console: Console, result: Measurement) -> None:
    """The table on screen."""
    p = result.problem
    console.print(
        f"{p.env}, {p.label}, γ = {p.gamma:g}: {result.settings.trajectories} trajectories per "
        f"estimate\ng* is {'exact' if result.reference == 'exact' else 'the ' + result.reference},"
        f" ‖g*‖ = {np.linalg.norm(result.gradient):.4g}",
        highlight=False,
        markup=False,
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
        ("variance", "relative variance", "SNR", "cos(ĝ, g*)", "steps"),
        [
            (
                row.estimator,
                number(row.properties.variance.point),
                short(row.properties.relative_variance),
                number(row.properties.snr.point),
                number(row.properties.cosine.point),
                f"{row.steps:,.0f}",
            )
            for row in result.rows
        ],
    )
    _print_rows(
        console,
        "Bias; p: of unbiasedness, Holm-corrected",
        ("bias²", "scale", "cos(mean, g*)", "MSE", "p"),
        [
            (
                row.estimator,
                short(row.properties.bias_squared),
                number(row.properties.scale.point),
                number(row.properties.direction.point),
                number(row.properties.mse.point),
                _verdict(row),
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
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """A table whose rows start with an estimator."""
    table = _table(title, columns)
    for estimator, *cells in rows:
        table.add_row(escape(short_label(estimator)), *cells)
    console.print(table)


def _table(title: str, columns: Sequence[str], x_title: str = "") -> Table:
    """With a column for what a study changes, if it is named, and one for estimators."""
    table = Table(title=title, title_justify="left", **COMPACT)
    if x_title:
        table.add_column(x_title, justify="right", max_width=14)
    table.add_column("estimator", overflow="fold", min_width=18)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _bias(row: Row) -> str:
    """What can be said of an estimator, one of ``BIASES``."""
    if row.p_value < SIGNIFICANT:
        return BIASES[0]
    known = np.isfinite([row.p_value, row.properties.direction.point]).all()
    return BIASES[1] if known else BIASES[2]


def _verdict(row: Row) -> str:
    if np.isnan(row.p_value):
        return number(row.p_value)
    p_value = f"{row.p_value:.4f}" if row.p_value >= 1e-4 else "<0.0001"
    return f"[red]{p_value}[/red]" if row.p_value < SIGNIFICANT else p_value


@dataclasses.dataclass(frozen=True)
class Point:
    """One estimator at one value ``x`` of what a study changes; empty where nothing is."""

    x: float | str
    row: Row


def print_points(
    console: Console,
    title: str,
    x_title: str,
    quantities: Sequence[str],
    points: Sequence[Point],
) -> None:
    """A study's table on screen; intervals are in ``lab.csv`` and the figure."""
    console.print(title, highlight=False, markup=False)
    table = _table("", [q.replace("_", " ") for q in quantities], x_title)
    for point in points:
        cells = [number(getattr(point.row.properties, q).point) for q in quantities]
        x = [f"{point.x:g}"] if x_title else []
        table.add_row(*x, escape(short_label(point.row.estimator)), *cells)
    console.print(table)


def short(interval: Interval) -> str:
    """Three figures, with the interval, for a table on screen."""
    if np.isnan(interval.low):
        return number(interval.point)
    return f"{number(interval.point)} \\[{interval.low:.3g}, {interval.high:.3g}]"


def number(x: float) -> str:
    """Three figures."""
    if np.isnan(x):
        return "unknown"
    return "∞" if np.isposinf(x) else f"{x:.3g}"


def flat(row: Row) -> dict[str, Any]:
    """A row of ``lab.csv``."""
    cells: dict[str, Any] = {
        "estimator": row.estimator,
        "plan": row.plan,
        "estimates": row.estimates,
        "steps": row.steps,
    }
    for name in FIGURES:
        interval = getattr(row.properties, name)
        cells[name] = interval.point
        cells[f"{name}_low"], cells[f"{name}_high"] = interval.low, interval.high
    return cells | {"p_value": row.properties.p_value, "p_value_holm": row.p_value}


def as_json(result: Measurement) -> dict[str, Any]:
    """All results, and what is needed to repeat them; what is not known is null."""
    p = result.problem
    return {
        "env": p.env,
        "policy": p.policy,
        "hidden": p.hidden,
        "parameters": p.label,
        "source": None if p.source is None else str(p.source),
        "parameters_sha256": hashlib.sha256(p.theta.cpu().numpy().tobytes()).hexdigest(),
        "gamma": p.gamma,
        "max_episode_steps": p.info.max_episode_steps,
        "off_policy": p.behaviour is not None,
        **dataclasses.asdict(result.settings),
        "reference": result.reference,
        "gradient_norm": float(np.linalg.norm(result.gradient)),
        "explained_variance": {k: _finite(v) for k, v in result.explained_variance.items()},
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        "versions": {name: version(name) for name in ("pgzoo", *LIBRARIES)},
        "estimators": {row.estimator: dataclasses.asdict(row.agent) for row in result.rows},
        "rows": [
            {k: _finite(v) if isinstance(v, float) else v for k, v in flat(row).items()}
            for row in result.rows
        ],
    }


def _finite(x: float) -> float | str | None:
    if np.isinf(x):
        return "inf" if x > 0 else "-inf"
    return None if np.isnan(x) else x


def write_measurement(folder: Path, result: Measurement) -> None:
    """``lab.json``, ``lab.csv``, ``lab.png``, ``lab.pdf`` and an event file.

    Raises:
        UsageError: if the folder cannot be written.
    """
    write_tables(folder, as_json(result), [flat(row) for row in result.rows])
    if not result.rows:
        return
    p = result.problem
    trajectories = result.settings.trajectories
    title = f"{p.env}, {p.label}, γ = {p.gamma:g}, {trajectories} trajectories per estimate"
    with explained_writing(folder):
        save(figure(result.rows, title), folder / "lab")
        write_events(folder, [(trajectories, row) for row in result.rows])


def write_tables(folder: Path, data: Any, rows: Sequence[dict[str, Any]]) -> None:
    """``lab.json`` and ``lab.csv``, each whole or not at all.

    Raises:
        UsageError: if the folder cannot be written.
    """
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    files = {"lab.json": json.dumps(data, indent=2), "lab.csv": text.getvalue()}
    with explained_writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary = folder / f".{name}.tmp"
            temporary.write_text(content)
            temporary.replace(folder / name)


@contextmanager
def explained_writing(folder: Path) -> Iterator[None]:
    """Say what a user can do about a full disk or a folder that is not writable."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder}: {error.strerror}. Make room, or choose another --out."
        ) from error


def figure(rows: Sequence[Row], title: str) -> Any:
    """Relative variance, direction, scale and raw variance of all estimators."""
    panels = [(PANELS[k], [getattr(r.properties, k) for r in rows]) for k in SHOWN]
    labels = [short_label(r.estimator) for r in rows]
    return dots(labels, panels, title, [_bias(r) for r in rows], BIASES)


def write_events(folder: Path, rows: Sequence[tuple[int, Row]]) -> None:
    """TensorBoard: an estimator is a run, a quantity a chart with its interval's ends.

    Args:
        folder: of the results.
        rows: each with its place on the horizontal axis.
    """
    from torch.utils.tensorboard import SummaryWriter

    for name in dict.fromkeys(short_label(row.estimator) for _, row in rows):
        run = folder / "tensorboard" / name.replace("/", "_").replace(":", " ")
        with SummaryWriter(str(run)) as writer:
            for x, row in rows:
                if short_label(row.estimator) != name:
                    continue
                for quantity in FIGURES:
                    interval = getattr(row.properties, quantity)
                    for end in ("point", "low", "high"):
                        if np.isfinite(value := getattr(interval, end)):
                            tag = quantity if end == "point" else f"{quantity}_{end}"
                            writer.add_scalar(f"lab/{tag}", value, x)

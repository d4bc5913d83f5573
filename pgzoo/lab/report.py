"""What a measurement leaves behind: ``lab.json``, ``lab.csv``, figures, TensorBoard."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pgzoo.errors import UsageError
from pgzoo.lab.measurement import Measurement, Row
from pgzoo.lab.problem import digest, short_label
from pgzoo.lab.statistics import (
    MIN_BLOCKS,
    RESCALED,
    TURNED,
    UNBIASED,
    UNCLEAR,
    VERDICTS,
    Properties,
    compare,
)
from pgzoo.options import flat as flat_options
from pgzoo.records import files
from pgzoo.records.config import LIBRARIES
from pgzoo.records.intervals import Interval
from pgzoo.records.significance import SIGNIFICANT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pgzoo.records.plots import Panel

QUANTITIES = tuple(f.name for f in dataclasses.fields(Properties) if f.type == "Interval")
PANELS: dict[str, dict[str, Any]] = {
    "variance": {"title": "variance, trace of the covariance", "log": True},
    "relative_variance": {"title": "relative variance, trace / ‖mean‖²", "log": True},
    "snr": {"title": "signal-to-noise ratio", "log": True},
    "bias_squared": {"title": "squared bias, ‖mean − g*‖²", "target": 0.0},
    "relative_bias": {"title": "relative bias, ‖mean − g*‖ / ‖g*‖", "target": 0.0},
    "scale": {"title": "scale, ⟨mean, g*⟩ / ‖g*‖²", "target": 1.0},
    "direction": {"title": "direction, cos(mean, g*)", "target": 1.0},
    "cosine": {"title": "cosine of single estimates with g*", "target": 1.0},
    "mse": {"title": "mean squared error, E‖ĝ − g*‖²", "log": True},
}
"""How a quantity is drawn: arguments of ``plots.Panel``."""
COMPARED = ("relative_variance", "variance", "cosine")
"""Quantities by which ``lab.json`` compares all pairs of estimators."""
SHOWN = ("relative_variance", "direction", "scale", "variance")


@dataclasses.dataclass(frozen=True)
class Point:
    """One estimator at one value ``x`` of what a study changes; empty where nothing is."""

    x: float | str
    row: Row


def flat(row: Row) -> dict[str, Any]:
    """A row of ``lab.csv``."""
    cells: dict[str, Any] = {
        "estimator": row.estimator,
        "plan": row.plan,
        "estimates": row.estimates,
        "steps": row.steps,
    }
    for name in QUANTITIES:
        interval = getattr(row.properties, name)
        cells[name] = interval.point
        cells[f"{name}_low"], cells[f"{name}_high"] = interval.low, interval.high
    return cells | {
        "p_unbiased": row.properties.p_unbiased,
        "p_unbiased_holm": row.p_unbiased,
        "p_direction": row.properties.p_direction,
        "p_direction_holm": row.p_direction,
        "verdict": row.verdict,
    }


def in_words(row: Row) -> str:
    """The verdict, with the figure that matters to it."""
    p = row.properties
    if row.verdict == UNBIASED:
        return f"{UNBIASED}, to within {p.relative_bias.high:.2g} ‖g*‖"
    if row.verdict == RESCALED:
        return f"{RESCALED} × {p.scale.point:.3g} (to within {_degrees(p.direction.low)})"
    if row.verdict == TURNED:
        if np.isnan(p.direction.point):
            return f"{TURNED}, not known which"
        away, near, far = (_degrees(getattr(p.direction, x)) for x in ("point", "high", "low"))
        return f"{TURNED}, {away} [{near}, {far}] off"
    if np.isnan(row.p_unbiased):
        return f"{UNCLEAR}: fewer than {MIN_BLOCKS} estimates"
    if np.isnan(p.relative_bias.point):
        return f"{UNCLEAR}: g* itself is lost in noise"
    if row.p_unbiased < SIGNIFICANT:
        known = p.direction.low > 0
        angle = f"up to {_degrees(p.direction.low)} off" if known else "in whatever direction"
        return f"{UNCLEAR}: biased, {angle}"
    return f"{UNCLEAR}: a bias of up to {p.relative_bias.high:.2g} ‖g*‖"


def _degrees(cosine: float) -> str:
    return f"{np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))):.2g}°"


def as_json(result: Measurement) -> dict[str, Any]:
    """All results, and what is needed to repeat them; what is not known is null."""
    p = result.problem
    return {
        "env": p.env,
        "policy_kind": p.policy_kind,
        "hidden": p.hidden,
        "parameters": p.label,
        "source": None if p.source is None else str(p.source),
        "parameters_sha256": digest(p.theta),
        "gamma": p.gamma,
        "limit": p.limit,
        "max_episode_steps": p.info.max_episode_steps,
        "off_policy": p.behaviour is not None,
        **dataclasses.asdict(result.settings),
        "reference": result.reference,
        "gradient_norm": float(np.linalg.norm(result.gradient)),
        "explained_variance": {k: finite(v) for k, v in result.explained_variance.items()},
        "seconds": result.seconds,
        "interrupted": result.interrupted,
        "versions": {name: version(name) for name in ("pgzoo", *LIBRARIES)},
        "estimators": {row.estimator: flat_options(row.agent) for row in result.rows},
        "rows": [
            {k: finite(v) if isinstance(v, float) else v for k, v in flat(row).items()}
            | {"in_words": in_words(row)}
            for row in result.rows
        ],
        "comparisons": comparisons(result),
    }


def comparisons(result: Measurement) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """By quantity, an estimator and every later one: ratio or difference, its interval, p.

    A ratio is the first one's figure over the second one's. p-values are not corrected.
    """

    def one(a: Row, b: Row, quantity: str) -> list[Any]:
        found = compare(a.quantities, b.quantities, quantity)
        numbers = (*dataclasses.astuple(found.interval), found.p_value)
        return [finite(float(f"{x:.6g}")) for x in numbers]

    return {
        quantity: {
            a.estimator: {b.estimator: one(a, b, quantity) for b in result.rows[i + 1 :]}
            for i, a in enumerate(result.rows[:-1])
        }
        for quantity in COMPARED
    }


def finite(x: float) -> float | str | None:
    """As JSON has it: what is not known is null."""
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
    from pgzoo.records.style import save

    with explained_writing(folder):
        save(figure(result), folder / "lab")
        write_events(folder, [(result.settings.trajectories, row) for row in result.rows])


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
    tables = {"lab.json": _numbers_in_line(json.dumps(data, indent=2)), "lab.csv": text.getvalue()}
    with explained_writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in tables.items():
            files.write_text(folder / name, content)


def _numbers_in_line(text: str) -> str:
    """JSON whose lists of numbers take a line each, not one for every number."""
    lists = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")
    return lists.sub(lambda found: "[" + re.sub(r"\n\s+", " ", found[1]) + "]", text)


@contextmanager
def explained_writing(folder: Path) -> Iterator[None]:
    """Say what a user can do about a full disk or a folder that is not writable."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder}: {error.strerror}. Make room, or choose another `out`."
        ) from error


def figure(result: Measurement) -> Figure:
    """Relative variance, direction, scale and raw variance of all estimators."""
    from pgzoo.records.plots import dots

    p = result.problem
    title = (
        f"{p.env}, {p.label}, {p.objective}, {result.settings.trajectories} trajectories per "
        "estimate"
    )
    panels = [of_panel(k, [getattr(r.properties, k) for r in result.rows]) for k in SHOWN]
    labels = [short_label(r.estimator) for r in result.rows]
    return dots(labels, panels, title, [r.verdict for r in result.rows], VERDICTS)


def panel(quantity: str, points: Iterable[float]) -> Panel:
    """An axis for these points of a quantity of ``Properties``.

    Scales go over several powers of ten, as long as none is negative.
    """
    from pgzoo.records.plots import Panel

    options = dict(PANELS[quantity])
    if quantity == "scale":
        options["log"] = all(x > 0 for x in points if not np.isnan(x))
    return Panel(**options)


def of_panel(quantity: str, intervals: Sequence[Interval]) -> tuple[Panel, Sequence[Interval]]:
    """An axis with what is on it."""
    return panel(quantity, [i.point for i in intervals]), intervals


def write_events(folder: Path, rows: Sequence[tuple[int, Row]]) -> None:
    """TensorBoard: an estimator is a run, a quantity a chart with its interval's ends.

    Args:
        folder: of the results.
        rows: each with its place on the horizontal axis.
    """
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    from pgzoo.records.tensorboard import EventFile

    for name in dict.fromkeys(short_label(row.estimator) for _, row in rows):
        run = folder / "tensorboard" / name.replace("/", "_").replace(":", " ")
        with closing(EventFile(run)) as events:
            for x, row in rows:
                if short_label(row.estimator) != name:
                    continue
                for quantity in QUANTITIES:
                    interval = getattr(row.properties, quantity)
                    for end in ("point", "low", "high"):
                        if np.isfinite(value := getattr(interval, end)):
                            tag = quantity if end == "point" else f"{quantity}_{end}"
                            events.add(scalar_pb(f"lab/{tag}", value), x)

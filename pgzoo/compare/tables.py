"""Tables of contenders and of pairs, and the files they are written to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pgzoo.compare.efficiency import (
    Saving,
    areas_under_curves,
    common_budget,
    common_seconds,
    restricted_mean,
    share_reached,
    trained_seconds,
    trained_steps,
)
from pgzoo.compare.final_return import final_return
from pgzoo.compare.judge import ranked
from pgzoo.compare.outcome import Outcome
from pgzoo.compare.pairs import Pair
from pgzoo.options import written
from pgzoo.records.files import write_text
from pgzoo.records.intervals import Interval, decimals, interquartile_mean_interval

if TYPE_CHECKING:
    import pandas as pd

MISSING = "–"
NONE = Interval(np.nan, np.nan, np.nan)


def contenders_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """A line for each contender, best first; numbers and the ends of their 95% intervals.

    ``area`` is the mean return over the first environment steps, as many as all were to train.
    Steps and seconds to the threshold are restricted means at the budget that is common to all;
    seconds are of a run with all its seeds, beside whatever else its machine did.
    """
    import pandas as pd

    budgets = None
    if outcomes[0].threshold is not None:
        budgets = common_budget(outcomes), common_seconds(outcomes)
    least = min(o.budget for o in outcomes)
    return pd.DataFrame([_contender(o, least, budgets) for o in ranked(outcomes)])


def _contender(
    outcome: Outcome, least: int, budgets: tuple[int, float] | None
) -> dict[str, object]:
    figures = final_return(outcome.returns, outcome.threshold)
    share = mean = seconds = NONE
    if budgets is not None:
        reached, trained = outcome.steps_to_threshold, trained_steps(outcome)
        share = share_reached(reached, trained, budgets[0])
        mean = restricted_mean(reached, trained, budgets[0])
        if np.isfinite(budgets[1]):
            reached_after = outcome.seconds_to_threshold
            seconds = restricted_mean(reached_after, trained_seconds(outcome), budgets[1])
    return {
        "contender": outcome.label,
        "agent": outcome.agent,
        "options": " ".join(f"{k}={written(v)}" for k, v in outcome.options.items()),
        "runs": figures.runs,
        "failed": figures.failed,
        **_spread("iqm", figures.iqm),
        **_spread("mean", figures.mean),
        **_spread("failure_rate", figures.failure_rate),
        **_spread("worst_tenth", figures.worst_tenth),
        **_spread("next_run", figures.next_run),
        "next_run_coverage": figures.next_run_coverage,
        **_spread("area", interquartile_mean_interval(areas_under_curves(outcome, least))),
        "area_steps": least,
        "threshold": np.nan if outcome.threshold is None else outcome.threshold,
        "budget": outcome.budget,
        "common_budget": np.nan if budgets is None else budgets[0],
        "common_seconds": np.nan if budgets is None else budgets[1],
        **_spread("share_reached", share),
        **_spread("steps_to_threshold", mean),
        **_spread("seconds_to_threshold", seconds),
    }


def pairs_table(pairs: Sequence[Pair], savings: Sequence[Saving] = ()) -> pd.DataFrame:
    """A line for each pair; what is known of their steps to the threshold beside.

    Args:
        pairs: their final returns.
        savings: the same pairs' steps to the threshold, if there is one.
    """
    import pandas as pd

    soon = {(s.first, s.second): s for s in savings}
    return pd.DataFrame([_pair(pair, soon.get((pair.first, pair.second))) for pair in pairs])


def _pair(pair: Pair, saving: Saving | None) -> dict[str, object]:
    line = {
        "first": pair.first,
        "second": pair.second,
        "runs_first": pair.runs[0],
        "runs_second": pair.runs[1],
        **_spread("probability", pair.probability),
        **_spread("difference", pair.difference),
        "p": pair.p,
        "p_corrected": pair.corrected,
        "better": pair.better or "",
        "decidable": pair.decidable,
        "rank_correlation": pair.rank_correlation,
    }
    if saving is None:
        return line
    return line | {
        **_spread("steps_ratio", saving.ratio),
        **_spread("steps_difference", saving.difference),
        "steps_budget": saving.budget,
        "steps_p": saving.p,
        "steps_p_corrected": saving.corrected,
        "steps_faster": saving.faster or "",
    }


def _spread(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.point, f"{name}_low": interval.low, f"{name}_high": interval.high}


def contenders_in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The same table to be read: an interval in one cell, and what is unknown left out."""
    import pandas as pd

    digits = _digits(table.next_run_high)
    shown = {
        "contender": table.contender,
        "runs": [
            f"{runs}, {failed} failed" if failed else f"{runs}"
            for runs, failed in zip(table.runs, table.failed, strict=True)
        ],
        "interquartile mean": _intervals(table, "iqm"),
        "mean": _intervals(table, "mean"),
        "worst tenth": _intervals(table, "worst_tenth"),
        "next run": [
            MISSING
            if np.isnan(low)
            else f"{_number(low, digits)} to {_number(high, digits)} in {coverage:.0%}"
            for low, high, coverage in zip(
                table.next_run_low, table.next_run_high, table.next_run_coverage, strict=True
            )
        ],
    }
    shown[f"mean over the first {table.area_steps.iloc[0]:,} steps"] = _intervals(table, "area")
    if table.threshold.notna().any():
        threshold, budget = table.threshold.iloc[0], table.common_budget.iloc[0]
        shown[f"below {threshold:g} or failed"] = _intervals(table, "failure_rate", 2)
        shown[f"reached {threshold:g} within {budget:,.0f} steps"] = _intervals(
            table, "share_reached", 2
        )
        shown[f"steps to {threshold:g}"] = _intervals(table, "steps_to_threshold", 0)
        if np.isfinite(table.common_seconds.iloc[0]):
            name = f"seconds to {threshold:g}, at most {table.common_seconds.iloc[0]:.0f}"
            shown[name] = _intervals(table, "seconds_to_threshold", 1)
    return pd.DataFrame(shown)


def pairs_in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The same table to be read."""
    import pandas as pd

    if table.empty:
        return table
    shown = {
        "pair": table["first"] + " / " + table["second"],
        "P(first is better)": _intervals(table, "probability", 2),
        "difference": _intervals(table, "difference"),
        "p, corrected": [_p(x) for x in table.p_corrected],
        "better": table.better.replace("", "undecided"),
    }
    if "steps_ratio" in table:
        shown |= {
            "steps, first / second": _intervals(table, "steps_ratio", 2),
            "p of steps, corrected": [_p(x) for x in table.steps_p_corrected],
            "sooner": table.steps_faster.replace("", "undecided"),
        }
    return pd.DataFrame(shown)


def _intervals(table: pd.DataFrame, name: str, digits: int | None = None) -> list[str]:
    columns = (table[name], table[f"{name}_low"], table[f"{name}_high"])
    digits = _digits(table[name]) if digits is None else digits
    return [_interval(*ends, digits) for ends in zip(*columns, strict=True)]


def _digits(column: Iterable[float]) -> int:
    """The same for a whole column, so that its numbers can be compared at sight."""
    return decimals(max((abs(x) for x in column if np.isfinite(x)), default=0.0))


def _interval(point: float, low: float, high: float, digits: int) -> str:
    if np.isnan(point):
        return MISSING
    text = _number(point, digits)
    if np.isnan(low):
        return text
    return f"{text} [{_number(low, digits)}, {_number(high, digits)}]"


def _number(x: float, digits: int) -> str:
    if np.isnan(x):
        return MISSING
    if np.isinf(x):
        return "∞" if x > 0 else "−∞"
    return f"{x:,.{digits}f}"


def _p(p: float) -> str:
    return MISSING if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def as_markdown(table: pd.DataFrame) -> str:
    """A table of texts as GitHub writes them; numbers do not get a format of their own."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(value: object) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(escaped.split())


def as_latex(table: pd.DataFrame) -> str:
    """A table of texts for a document with the package booktabs."""
    return table.map(_in_latex).to_latex(index=False, escape=True)


def _in_latex(value: object) -> object:
    if not isinstance(value, str):
        return value
    return value.replace("−", "-").replace("∞", "inf").replace("–", "--")


def write_tables(
    folder: Path,
    outcomes: Sequence[Outcome],
    pairs: Sequence[Pair],
    savings: Sequence[Saving] = (),
) -> list[Path]:
    """``contenders`` and ``pairs`` as CSV with all numbers, and as Markdown and LaTeX to be read.

    One contender alone has no pairs, and no table of them.

    Raises:
        OSError: if the folder cannot be written.
    """
    contenders = contenders_table(outcomes)
    tables = {"contenders": (contenders, contenders_in_words(contenders))}
    if pairs:
        table = pairs_table(pairs, savings)
        tables["pairs"] = (table, pairs_in_words(table))
    paths = []
    for name, (numbers, words) in tables.items():
        for suffix, text in (
            ("csv", numbers.to_csv(index=False)),
            ("md", as_markdown(words)),
            ("tex", as_latex(words)),
        ):
            path = folder / f"{name}.{suffix}"
            write_text(path, text)
            paths.append(path)
    return paths

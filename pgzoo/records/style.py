"""How figures look and are saved: one style, safe for colour-blind readers and in grey."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from pgzoo.errors import UsageError
from pgzoo.records import files

COLOURS = (
    "#332288",
    "#E69F00",
    "#117733",
    "#DDCC77",
    "#D55E00",
    "#44AA99",
    "#AA4499",
    "#88CCEE",
    "#882255",
    "#EE3377",
    "#000000",
)
"""Of Okabe & Ito (2008) and Tol (2021), those that stay apart for every kind of colour vision:
at least 16 in CIELAB between any two, also under simulated protanopia, deuteranopia and
tritanopia, with lightness from 0 to 82."""
MARKERS = "os^DvPX*<>d"
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
FORMATS = ("png", "pdf", "svg")
INK = "#333333"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.titlesize": 12,
    "pdf.fonttype": 42,
    "svg.hashsalt": "pgzoo",
}
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


@dataclass(frozen=True)
class Look:
    """How one thing looks in every figure; no two are told apart by colour alone.

    Attributes:
        colour: as ``#rrggbb``.
        marker: of matplotlib.
        line: of matplotlib, solid or a pattern of dashes.
        face: colour inside the marker.
    """

    colour: str
    marker: str
    line: Any
    face: str


LOOKS = tuple(
    Look(colour, marker, LINES[i % len(LINES)], colour)
    for i, (colour, marker) in enumerate(zip(COLOURS, MARKERS, strict=True))
)


def variant(index: int, k: int, variants: int) -> Look:
    """The look of the k-th variant of a thing: its hue, from dark to light, with hollow markers.

    Args:
        index: of the thing itself.
        k: from 0 on.
        variants: how many there are beside the thing itself.
    """
    base = to_rgb(LOOKS[index].colour)
    luminance = 0.3 * base[0] + 0.59 * base[1] + 0.11 * base[2]
    # A light colour has room below, a dark one above.
    darker = round(variants * luminance) if variants > 1 else int(luminance > 0.5)
    lighter = variants - darker
    if k < darker:
        colour = _mixed(base, (0, 0, 0), 0.6 * (darker - k) / darker)
    else:
        colour = _mixed(base, (1, 1, 1), 0.6 * (k - darker + 1) / lighter)
    place = index + k + 1
    return Look(colour, MARKERS[place % len(MARKERS)], LINES[place % len(LINES)], "white")


def _mixed(a: tuple[float, ...], b: tuple[float, ...], share: float) -> str:
    red, green, blue = ((1 - share) * x + share * y for x, y in zip(a, b, strict=True))
    return to_hex((red, green, blue))


def save(figure: Figure, path: Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write a figure as ``path.png``, ``path.pdf``, …, each whole or not at all.

    Raises:
        UsageError: for a format that is not among ``FORMATS``.
        OSError: if they cannot be written.
    """
    check_formats(formats)
    paths = [path.with_name(f"{path.name}.{kind}") for kind in formats]
    for kind, place in zip(formats, paths, strict=True):
        files.write(place, rendered(figure, kind))
    return paths


def rendered(figure: Figure, kind: str) -> bytes:
    """What a file of that format holds; equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(content, dpi=150, format=kind, metadata=UNDATED.get(kind))
    return content.getvalue()


def check_formats(formats: Sequence[str]) -> None:
    """Raise a ``UsageError`` unless all are formats that figures are written in."""
    for kind in formats:
        if kind not in FORMATS:
            raise UsageError(
                f"Expected `format` among {', '.join(FORMATS)}; got {kind!r}. Several are "
                "separated by commas."
            )
    if not formats:
        raise UsageError(f"Expected at least one `format` of {', '.join(FORMATS)}, got none.")

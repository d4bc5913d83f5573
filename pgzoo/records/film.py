"""Films of episodes: how they are drawn, kept, and written as GIF or MP4.

A film is a grid of panels that run in step; each shows one policy in one episode. What happens in
them is decided elsewhere.
"""

from __future__ import annotations

import base64
import importlib
import itertools
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from pgzoo.errors import UsageError
from pgzoo.records import files

SUFFIXES = (".gif", ".mp4")
MOST_COLUMNS = 4
WIDTHS = (320, 320, 280, 240)
"""Of a panel, by the number of columns; with more columns as with the most."""
SQUAREST = 0.75
"""Height of the environment over the panel's width, at most."""
GAP, LINE, BARS = 10, 18, 28
"""Between panels; height of a line of text; height of a bar that stands for probability 1."""
LARGE, SMALL = 14, 12
PAPER, INK, FAINT, TRACK = "#ffffff", "#000000", "#6e6e6e", "#e4e4e4"
OPEN, TAKEN = "#56B4E9", "#D55E00"  # the actions, in two of the figures' colours
FADED = 0.5
COLOURS, FREQUENT = 240, 32
"""Of a GIF: how many at most, and how many of the frequent ones stay unless they are all but equal
to another one."""
ALIKE, NEAR = 4, (16, 24, 32, 48, 64)
"""How near two frequent colours may be, and how near others; the first of these that is enough.

With the last one, there are at most 64 others."""
SHIFTS = np.array([16, 8, 0], np.int32)
"""Of red, green and blue in a number."""
SAMPLED_FRAMES = 40
MP4 = (
    "-c:v libx264 -crf 23 -pix_fmt yuv420p -movflags +faststart "
    "-threads 1 -map_metadata -1 -fflags +bitexact -flags:v +bitexact"
)
"""How ffmpeg encodes: what every player reads, and equal bytes for equal films."""


@dataclass(frozen=True)
class Shot:
    """An episode at one step.

    Attributes:
        image: the environment, of the layout's ``image_size``.
        step: how many were taken.
        total: return so far, undiscounted.
        probabilities: π(·|s) ``[A]``; once the episode has ended, the last ones.
        action: that is taken now; once the episode has ended, the last one.
        ended: terminated or truncated; None while the episode goes on.
    """

    image: Image.Image
    step: int
    total: float
    probabilities: NDArray[np.float32]
    action: int
    ended: str | None = None


@dataclass(frozen=True)
class Ending:
    """How an episode came out; ``ended`` is None if the film was over first."""

    panel: str
    episode: int
    steps: int
    total: float
    ended: str | None

    def __str__(self) -> str:
        why = self.ended or "cut"
        return (
            f"{self.panel}, episode {self.episode}: return {_number(self.total)}, {why} after "
            f"{self.steps} steps"
        )


@dataclass(frozen=True)
class Layout:
    """Where everything is in a frame, in pixels.

    Attributes:
        panels: number of panels.
        columns: of the grid; panels fill it row by row.
        panel_width: of one panel without the gap beside it.
        image_size: width and height of the environment in each panel.
        actions: their names.
    """

    panels: int
    columns: int
    panel_width: int
    image_size: tuple[int, int]
    actions: tuple[str, ...]

    @property
    def panel_height(self) -> int:
        """Of one panel: title, image, figures, bars and their names."""
        return self.image_size[1] + 3 * LINE + BARS + 8

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame; even, as video encoders want it."""
        lines = -(-self.panels // self.columns)
        width = GAP + self.columns * (self.panel_width + GAP)
        height = LINE + GAP + lines * (self.panel_height + GAP)
        return width + width % 2, height + height % 2

    def corner(self, panel: int) -> tuple[int, int]:
        """Left and top of a panel."""
        line, column = divmod(panel, self.columns)
        return (
            GAP + column * (self.panel_width + GAP),
            LINE + GAP + line * (self.panel_height + GAP),
        )


def arrange(rows: int, columns: int, pixels: tuple[int, int], actions: tuple[str, ...]) -> Layout:
    """Lay a table of panels out; a single row or column is broken where it would be too wide.

    Args:
        rows: of the table.
        columns: of the table.
        pixels: the environment's own width and height; it is made smaller, never larger.
        actions: their names.
    """
    panels = rows * columns
    if min(rows, columns) == 1:
        lines = -(-panels // MOST_COLUMNS)
        columns = -(-panels // lines)
    width = WIDTHS[min(columns, len(WIDTHS)) - 1]
    scale = min(width / pixels[0], SQUAREST * width / pixels[1], 1.0)
    shown = round(pixels[0] * scale), round(pixels[1] * scale)
    return Layout(panels, columns, width, shown, actions)


def shrink(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    """Pixels ``[height, width, 3]`` as an image of another width and height."""
    return Image.fromarray(pixels).resize(size, Image.Resampling.BOX)


def draw(
    plan: Layout, title: str, panels: Sequence[tuple[str, Shot]], *, cut: bool = False
) -> Image.Image:
    """One frame.

    Args:
        plan: of the film.
        title: above all panels.
        panels: each one's title and what it shows.
        cut: whether the film is over; panels whose episode is not say so then.
    """
    frame = Image.new("RGB", plan.size, PAPER)
    pen = ImageDraw.Draw(frame)
    room = (plan.size[0] - 2 * GAP) / max(_font(SMALL).getlength(title), 1)
    pen.text((GAP, GAP // 2), title, FAINT, _font(max(int(SMALL * min(room, 1)), 1)))
    for i, (name, shot) in enumerate(panels):
        left, top = plan.corner(i)
        right = left + plan.panel_width
        pen.text((left, top), name, INK, _font(LARGE))
        top += LINE
        margin = (plan.panel_width - plan.image_size[0]) // 2
        frame.paste(_faded(shot.image) if shot.ended else shot.image, (left + margin, top))
        edges = (left + margin - 1, top - 1, right - margin, top + plan.image_size[1])
        pen.rectangle(edges, outline=TRACK)
        top += plan.image_size[1] + 4
        pen.text((left, top), f"return {_number(shot.total)}", INK, _font(LARGE))
        pen.text((right, top + 1), _where(shot, cut), INK, _font(SMALL), "ra")
        _draw_actions(pen, plan, left, top + LINE, shot)
    return frame


def _where(shot: Shot, cut: bool) -> str:
    if shot.ended or cut:
        return f"{shot.ended or 'cut'} after {shot.step} steps"
    return f"step {shot.step}"


def _draw_actions(pen: ImageDraw.ImageDraw, plan: Layout, left: int, top: int, shot: Shot) -> None:
    """A bar for the probability of every action; the one taken stands out."""
    width, bottom = plan.panel_width / len(plan.actions), top + BARS
    for i, name in enumerate(plan.actions):
        x = left + round(i * width)
        end = max(left + round((i + 1) * width) - 3, x)
        taken = i == shot.action and not shot.ended
        height = round(float(shot.probabilities[i]) * BARS)
        pen.rectangle((x, top, end, bottom), TRACK)
        if height:
            colour = FAINT if shot.ended else TAKEN if taken else OPEN
            pen.rectangle((x, bottom - height, end, bottom), colour)
        if taken:
            pen.rectangle((x, top, end, bottom), outline=INK)
        if _font(SMALL).getlength(name) <= width:
            middle = (x + end) // 2
            pen.text((middle, bottom + 2), name, INK if taken else FAINT, _font(SMALL), "ma")


def _faded(image: Image.Image) -> Image.Image:
    grey = ImageOps.grayscale(image).convert("RGB")
    return Image.blend(grey, Image.new("RGB", grey.size, TRACK), FADED)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _number(value: float) -> str:
    return f"{value:.1f}"


class Frame(NamedTuple):
    """One picture of a film: pixels, compressed, and for how many of the film's beats it stays."""

    packed: bytes
    beats: int

    @classmethod
    def of(cls, image: Image.Image, beats: int = 1) -> Frame:
        """A frame that shows an image."""
        return cls(zlib.compress(image.tobytes(), level=1), beats)


@dataclass(frozen=True)
class Film:
    """A film, which shows itself in a notebook; equal films have equal bytes.

    Attributes:
        title: what it is of.
        size: width and height of its frames in pixels.
        rate: beats per second.
        frames: all of it.
        endings: how the episodes came out.
        notes: what is not in the film, in sentences.
    """

    title: str
    size: tuple[int, int]
    rate: float
    frames: tuple[Frame, ...]
    endings: tuple[Ending, ...]
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it takes to see it."""
        return sum(frame.beats for frame in self.frames) / self.rate

    def images(self) -> Iterator[Image.Image]:
        """Its frames, each once."""
        for frame in self.frames:
            yield Image.frombytes("RGB", self.size, zlib.decompress(frame.packed))

    @cached_property
    def gif(self) -> bytes:
        """The film as a GIF that starts over at its end."""
        every = -(-len(self.frames) // SAMPLED_FRAMES)
        palette = _palette(list(itertools.islice(self.images(), 0, None, every)))
        first, *others = (
            image.quantize(palette=palette, dither=Image.Dither.NONE) for image in self.images()
        )
        ends = [
            round(100 * b / self.rate) for b in itertools.accumulate(f.beats for f in self.frames)
        ]
        shown = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
        file = BytesIO()
        first.save(file, "GIF", save_all=True, append_images=others, duration=shown, loop=0)
        return file.getvalue()

    @cached_property
    def mp4(self) -> bytes:
        """The film as an MP4.

        Raises:
            UsageError: if there is no ffmpeg, or it fails.
        """
        size = "x".join(map(str, self.size))
        given = f"-v error -f rawvideo -pix_fmt rgb24 -s {size} -r {self.rate} -i -"
        with tempfile.TemporaryDirectory(prefix="pgzoo-") as folder:
            path = Path(folder) / "film.mp4"
            done = subprocess.run(
                [find_ffmpeg(), *given.split(), *MP4.split(), str(path)],
                input=b"".join(zlib.decompress(f.packed) * f.beats for f in self.frames),
                capture_output=True,
            )
            if done.returncode != 0:
                said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
                raise UsageError(f"ffmpeg failed: {''.join(said)}. Make a .gif instead.")
            return path.read_bytes()

    def save(self, path: str | Path) -> Path:
        """Write the film, as its ending says: .gif or .mp4. What is there is replaced, all at once.

        Raises:
            UsageError: see ``check_target``; and if it cannot be written.
        """
        path = Path(path)
        check_target(path)
        content = self.gif if path.suffix.lower() == ".gif" else self.mp4
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, content)
        except OSError as error:
            raise files.cannot_write(path, error) from error
        return path

    def __repr__(self) -> str:
        width, height = self.size
        return f"Film({self.title!r}, {self.seconds:.1f} s, {width} × {height} pixels)"

    def _repr_html_(self) -> str:
        lines = [escape(str(text)) for text in (*self.endings, *self.notes)]
        data = base64.b64encode(self.gif).decode()
        image = f'<img src="data:image/gif;base64,{data}" alt="{escape(self.title)}">'
        return f"<figure>{image}<figcaption>{'<br>'.join(lines)}</figcaption></figure>"


def _palette(sample: Sequence[Image.Image]) -> Image.Image:
    """Colours for all frames: the frequent ones as they are, of the others those that differ more.

    Pillow's own palettes have means of many colours, so that paper is not white; and it tells
    colours apart only if they differ by more than ``ALIKE`` when it looks for the nearest.
    """
    pixels = np.concatenate([np.asarray(image).reshape(-1, 3) for image in sample])
    codes = pixels.astype(np.int32) @ (1 << SHIFTS)
    found, counts = np.unique(codes, return_counts=True)
    found = found[np.argsort(-counts, kind="stable")]
    colours = found[:, None] >> SHIFTS & 255
    rare = np.arange(len(colours)) >= FREQUENT
    kept = next(
        k for near in NEAR if len(k := _apart(colours, np.where(rare, near, ALIKE))) <= COLOURS
    )
    palette = Image.new("P", (1, 1))
    palette.putpalette(kept.astype(np.uint8).tobytes())
    return palette


def _apart(colours: NDArray[np.int32], near: NDArray[np.int32]) -> NDArray[np.int32]:
    """The first colours ``[n, 3]`` that differ by more than ``near [n]`` from all before.

    There is one too many at most.
    """
    kept: list[NDArray[np.int32]] = []
    while len(colours) and len(kept) <= COLOURS:
        kept.append(colours[0])
        differs = np.abs(colours - colours[0]).max(1) > near
        colours, near = colours[differs], near[differs]
    return np.stack(kept)


def check_target(path: Path) -> None:
    """Make sure that a film can be written to a path, before it is made.

    Raises:
        UsageError: for another ending than .gif and .mp4, for a folder, where nothing can be
            written, and for an MP4 without ffmpeg.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"Expected `out` to end in {' or '.join(SUFFIXES)}, got {str(path)!r}. A GIF needs "
            "nothing else; an MP4 needs ffmpeg."
        )
    if path.is_dir():
        raise UsageError(f"Expected `out` to be a file, got the folder {path}. Name another one.")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UsageError(f"Cannot write to {nearest}. Choose a writable `out`.")
    if path.suffix.lower() == ".mp4":
        find_ffmpeg()


def find_ffmpeg() -> str:
    """The program that encodes an MP4: on the PATH, or the package imageio-ffmpeg's.

    Raises:
        UsageError: if there is none.
    """
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    try:
        program: str = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            "Expected ffmpeg for an MP4, found none. Install it (the extra pgzoo[mp4] brings one), "
            "or let `out` end in .gif."
        ) from error
    return program

import os
import re
import shutil
import stat
import sys
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pgzoo.errors import UsageError
from pgzoo.records import files
from pgzoo.records import film as film_module
from pgzoo.records.film import (
    PAPER,
    Ending,
    Film,
    Frame,
    Shot,
    arrange,
    check_target,
    draw,
    find_ffmpeg,
    shrink,
)

SIZE = (60, 40)
ENDING = Ending("seed 0, trained", 0, 12, 9.5, "terminated")


def shot(step=0, colour=(200, 30, 30), **options):
    image = Image.new("RGB", SIZE, colour)
    values = {"total": float(step), "probabilities": np.array([0.25, 0.75]), "action": 1} | options
    return Shot(image, step, **values)


def plan(rows=1, columns=1, pixels=SIZE):
    return arrange(rows, columns, pixels, ("left", "right"))


def make_film(frames=5, beats=1, rate=10.0):
    layout = plan()
    images = [draw(layout, "a film", [("panel", shot(i))]) for i in range(frames)]
    packed = [Frame.of(image) for image in images[:-1]] + [Frame.of(images[-1], beats)]
    return Film("a film", layout.size, rate, tuple(packed), (ENDING,))


def opened(content):
    return Image.open(BytesIO(content))


@pytest.mark.parametrize(
    ("rows", "columns", "across", "lines"),
    [(1, 1, 1, 1), (1, 3, 3, 1), (3, 1, 3, 1), (1, 5, 3, 2), (2, 3, 3, 2), (1, 11, 4, 3)],
)
def test_panels_are_a_table_and_a_single_row_is_broken(rows, columns, across, lines):
    layout = plan(rows, columns)
    assert (layout.panels, layout.columns) == (rows * columns, across)
    corners = [layout.corner(i) for i in range(layout.panels)]
    assert len(set(corners)) == layout.panels
    assert len({top for _, top in corners}) == lines
    width, height = layout.size
    assert width % 2 == height % 2 == 0
    for left, top in corners:
        assert left + layout.panel_width < width
        assert top + layout.panel_height < height


@pytest.mark.parametrize(
    ("pixels", "shown"),
    [((600, 400), (320, 213)), ((500, 500), (240, 240)), ((60, 40), (60, 40))],
)
def test_pictures_are_made_smaller_and_never_larger(pixels, shown):
    assert plan(pixels=pixels).image_size == shown
    assert shrink(np.zeros((*pixels[::-1], 3), np.uint8), shown).size == shown


def middle(frame, layout, panel):
    """The colour in the middle of a panel's picture."""
    left, top = layout.corner(panel)
    return frame.getpixel((left + layout.panel_width // 2, top + 18 + layout.image_size[1] // 2))


def test_who_has_ended_is_grey():
    layout = plan(1, 2)
    panels = [("goes on", shot()), ("ended", shot(ended="truncated"))]
    frame = draw(layout, "title", panels)
    assert frame.size == layout.size
    assert middle(frame, layout, 0) == (200, 30, 30)
    grey = middle(frame, layout, 1)
    assert len(set(grey)) == 1


def test_a_frame_says_where_each_panel_is(monkeypatch):
    said = []
    pen = film_module.ImageDraw.ImageDraw
    monkeypatch.setattr(pen, "text", lambda self, at, text, *rest: said.append(text))
    panels = [("a", shot(7, total=-3.25)), ("b", shot(9, total=9.0, ended="terminated"))]
    draw(plan(1, 2), "title", panels)
    assert {"title", "a", "b", "return -3.2", "return 9.0", "left", "right"} <= set(said)
    assert {"step 7", "terminated after 9 steps"} <= set(said)
    said.clear()
    draw(plan(1, 2), "title", panels, cut=True)
    assert {"cut after 7 steps", "terminated after 9 steps"} <= set(said)


def test_bars_are_as_high_as_the_actions_are_probable():
    layout = plan()
    frame = np.asarray(draw(layout, "", [("", shot(probabilities=np.array([0.25, 0.75])))]))
    blue, orange = ((frame == c).all(-1).any(1).sum() for c in ((86, 180, 233), (213, 94, 0)))
    assert blue == pytest.approx(7, abs=1)
    assert orange == pytest.approx(21, abs=2)  # its outline covers the ends


def test_many_actions_and_long_titles_have_room():
    many = arrange(1, 1, SIZE, tuple(map(str, range(500))))
    assert draw(many, "t" * 300, [("", shot(probabilities=np.full(500, 0.002)))]).size == many.size


def test_a_gif_has_the_frames_in_their_time_and_starts_over():
    film = make_film(frames=5, beats=20, rate=15.0)
    gif = opened(film.gif)
    assert (gif.n_frames, gif.size, gif.info["loop"]) == (5, film.size, 0)
    times = []
    for i in range(5):
        gif.seek(i)
        times.append(gif.info["duration"])
    assert times == [70, 60, 70, 70, 1330]  # hundredths of seconds, and no drift
    assert sum(times) / 1000 == pytest.approx(film.seconds, abs=0.005)


def test_a_gif_keeps_the_frequent_colours():
    film = make_film()
    gif = opened(film.gif).convert("RGB")
    first = next(iter(film.images()))
    for place in [(1, 1), (film.size[0] // 2, 50)]:
        assert gif.getpixel(place) == first.getpixel(place)
    assert gif.getpixel((1, 1)) == (255, 255, 255)
    assert PAPER == "#ffffff"
    difference = np.abs(np.asarray(gif, int) - np.asarray(first, int))
    assert difference.max() <= 16


def test_more_colours_than_a_gif_has_become_fewer():
    pixels = np.random.default_rng(0).integers(256, size=(120, 160, 3), dtype=np.uint8)
    film = Film("noise", (160, 120), 10.0, (Frame.of(Image.fromarray(pixels)),), ())
    gif = np.asarray(opened(film.gif).convert("RGB"), int)
    difference = np.abs(gif - pixels)
    assert difference.max() <= 3**0.5 * (64 + 4)
    assert 0 < difference.mean() < 32


def test_equal_films_have_equal_bytes():
    assert make_film().gif == make_film().gif
    assert make_film().gif != make_film(frames=6).gif


def test_a_film_shows_itself_without_anything_else():
    html = make_film()._repr_html_()
    source = re.search(r'src="data:image/gif;base64,([^"]*)"', html)[1]
    assert b64decode(source) == make_film().gif
    assert "http" not in html
    assert "<script" not in html
    assert "seed 0, trained, episode 0: return 9.5, terminated after 12 steps" in html


def test_saving_replaces_a_file_at_once(tmp_path, monkeypatch):
    path = tmp_path / "new" / "film.gif"
    assert make_film().save(path) == path
    assert path.read_bytes() == make_film().gif
    make_film(frames=6).save(path)
    assert path.read_bytes() == make_film(frames=6).gif

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        make_film(frames=7).save(path)
    assert path.read_bytes() == make_film(frames=6).gif
    assert list(path.parent.iterdir()) == [path]


def test_where_no_film_can_be_written(tmp_path):
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "file").touch()
    for name, message in {
        "film.avi": "end in .gif or .mp4",
        "film": "end in .gif or .mp4",
        "folder.gif": "to be a file, got the folder",
        "file/film.gif": "Cannot write to .*file",
    }.items():
        with pytest.raises(UsageError, match=message):
            check_target(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UsageError, match="Cannot write to"):
        check_target(tmp_path / "film.gif")


@pytest.fixture
def no_ffmpeg(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    return tmp_path


def test_an_mp4_without_ffmpeg_is_refused(no_ffmpeg):
    with pytest.raises(UsageError, match=r"Expected ffmpeg .* pgzoo\[mp4\]"):
        make_film().save(no_ffmpeg / "film.mp4")
    assert not list(no_ffmpeg.iterdir())


def fake_ffmpeg(folder, does):
    program = folder / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\nraw = sys.stdin.buffer.read()\n{does}\n")
    program.chmod(0o755)


def test_ffmpeg_gets_every_beat_of_the_film(no_ffmpeg):
    fake_ffmpeg(no_ffmpeg, "open(sys.argv[-1], 'w').write(f'{len(raw)} {sys.argv[1:-1]}')")
    film = make_film(frames=3, beats=4)
    said = film.save(no_ffmpeg / "film.MP4").read_text()
    width, height = film.size
    assert said.startswith(f"{6 * width * height * 3} ")
    assert f"'-s', '{width}x{height}', '-r', '10.0'" in said


def test_a_failure_of_ffmpeg_is_told_and_leaves_nothing(no_ffmpeg):
    fake_ffmpeg(no_ffmpeg, "sys.exit('Unknown encoder libx264')")
    with pytest.raises(UsageError, match="ffmpeg failed: Unknown encoder libx264"):
        make_film().save(no_ffmpeg / "film.mp4")
    assert [p.name for p in no_ffmpeg.iterdir()] == ["ffmpeg"]


def has_ffmpeg():
    try:
        return bool(find_ffmpeg())
    except UsageError:
        return False


@pytest.mark.skipif(not has_ffmpeg(), reason="there is no ffmpeg")
def test_an_mp4_is_one(tmp_path):
    content = make_film().save(tmp_path / "film.mp4").read_bytes()
    assert content[4:8] == b"ftyp"
    assert content == make_film().mp4
    assert shutil.which("ffmpeg") or "imageio_ffmpeg" in sys.modules

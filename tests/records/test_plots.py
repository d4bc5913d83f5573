import numpy as np

from pgzoo.records.intervals import Interval
from pgzoo.records.plots import Line, Panel, curves, dots, learning_curve_png
from pgzoo.records.style import COLOURS, MARKERS, save

KNOWN, UNKNOWN = Interval(2.0, 1.0, 4.0), Interval(3.0, np.nan, np.nan)


def test_dots_name_their_axes_and_draw_every_point(tmp_path):
    panels = [(Panel("variance", log=True), [KNOWN, UNKNOWN]), (Panel("scale"), [KNOWN, KNOWN])]
    figure = dots(["rloo", "grpo"], panels, "title", ["biased", "unbiased"])
    assert [axis.get_xlabel() for axis in figure.axes] == ["variance", "scale"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["rloo", "grpo"]
    assert figure.axes[0].get_xscale() == "log"
    files = save(figure, tmp_path / "figure")
    assert [f.name for f in files] == ["figure.png", "figure.pdf"]
    assert all(f.stat().st_size > 1000 for f in files)


def test_curves_name_their_axes_and_tell_lines_by_more_than_colour(tmp_path):
    lines = [Line(f"line {i}", [1, 2, 4], [KNOWN, UNKNOWN, KNOWN]) for i in range(4)]
    figure = curves([(Panel("variance", target=1.0), lines)], "N", "title", log_x=True)
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("N", "variance")
    drawn = [line for line in axis.lines if line.get_label().startswith("line")]
    assert len({line.get_color() for line in drawn}) == len(drawn)
    assert len({line.get_marker() for line in drawn}) == len(drawn)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "2", "4"]
    save(figure, tmp_path / "figure")


def test_there_is_a_marker_for_every_colour():
    assert len(COLOURS) == len(set(COLOURS)) == len(set(MARKERS))


def test_what_is_infinite_is_marked_at_the_edge(tmp_path):
    lost, open_ended = Interval(np.inf, 2.0, np.inf), Interval(2.0, 1.0, np.inf)
    for intervals in ([lost, open_ended], [lost, lost]):
        panels = [(Panel("variance", log=True), intervals)]
        figure = dots(["a", "b"], panels, "title", ["x", "x"])
        marks = [t.get_text() for t in figure.axes[0].texts]
        assert marks == ["∞" if i is lost else "→" for i in intervals]
        save(figure, tmp_path / "figure")


def test_a_single_value_on_a_logarithmic_axis(tmp_path):
    figure = dots(["a"], [(Panel("variance", log=True), [UNKNOWN])], "title", ["x"])
    low, high = figure.axes[0].get_xlim()
    assert low < UNKNOWN.point / 1.5 < UNKNOWN.point * 1.5 < high
    save(figure, tmp_path / "figure")


def test_zero_has_its_place_on_a_logarithmic_axis():
    line = Line("a", [0.0, 0.001, 0.1], [Interval(1.0, 0.5, 2.0)] * 3)
    figure = curves([(Panel("variance"), [line])], "KL", "Drift", log_x=True)
    axis = figure.axes[0]
    assert axis.get_xscale() == "symlog"
    assert [t.get_text() for t in axis.get_xticklabels()] == ["0", "0.001", "0.1"]


def test_nothing_positive_on_a_logarithmic_axis(tmp_path):
    zero = Line("a", [1, 2], [Interval(0.0, 0.0, 0.0), Interval(np.nan, np.nan, np.nan)])
    figure = curves([(Panel("variance", log=True), [zero])], "N", "title", log_x=True)
    save(figure, tmp_path / "figure")


def test_words_look_the_same_whichever_others_there_are():
    names = ["x", "y", "z"]
    colours = []
    for groups in (["z"], ["x", "z"]):
        figure = dots(
            ["a"] * len(groups), [(Panel("v"), [KNOWN] * len(groups))], "t", groups, names
        )
        handles, words = figure.axes[0].get_legend_handles_labels()
        colours.append(handles[words.index("z")].lines[0].get_color())
    assert colours[0] == colours[1]


def test_a_learning_curve_from_the_lines_of_metrics():
    lines = [
        {"seed": seed, "env_steps": 10.0 * i, "return_last_100": float(seed + i)}
        for seed in range(5)
        for i in (1, 2, 2, 3)  # an iteration may take no step
    ]
    lines.append({"seed": 0, "env_steps": 40.0})
    png = learning_curve_png(lines, "title")
    assert png.startswith(b"\x89PNG")
    assert png != learning_curve_png([], "title")

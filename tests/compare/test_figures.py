"""What figures say: their data, labels and looks; how they are seen was judged by eye."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from pgzoo.agents import AGENTS
from pgzoo.compare import figures
from pgzoo.compare.figures.canvas import LABEL_WIDTH, MOST_LINES, looks_of, wrapped
from pgzoo.compare.figures.final import profile
from pgzoo.compare.figures.learning import SECONDS, curve_of
from pgzoo.compare.figures.pairs import matrix
from pgzoo.compare.figures.threshold import survival
from pgzoo.compare.judge import pairs_of
from pgzoo.errors import UsageError
from pgzoo.records.style import COLOURS, LOOKS, rendered, save
from tests.compare.outcomes import BUDGET, made

HIGH = (90.0, 91.0, 92.0, 93.0, 94.0, 95.0, 96.0, 97.0)


def drawn_labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def texts(figure):
    return [t.get_text() for axis in figure.axes for t in axis.texts]


def colours_in(axis):
    return {to_hex(line.get_color()).upper() for line in axis.lines}


def test_an_agent_looks_the_same_in_every_comparison():
    alone = looks_of([made("rloo")])["rloo"]
    among = looks_of([made(name) for name in AGENTS])
    assert alone == among["rloo"]
    assert len({(look.colour, look.marker) for look in among.values()}) == len(AGENTS)
    assert LOOKS[len(AGENTS)].colour == "#000000"  # an estimator of one's own


def test_ablations_have_their_agent_s_hue_and_looks_of_their_own():
    outcomes = [made(f"ppo:lam={x}", lam=x) for x in (0.5, 0.8, 0.9, 1.0)] + [made("ppo")]
    looks = looks_of(outcomes)
    assert looks["ppo"] == looks_of([made("ppo")])["ppo"]
    assert len({(look.colour, look.marker, look.line) for look in looks.values()}) == len(outcomes)
    assert len({look.colour for look in looks.values()}) == len(outcomes)


def test_estimators_of_users_own_are_told_apart():
    looks = looks_of([made("f", agent="a.py:f"), made("g", agent="b.py:g")])
    assert looks["f"] != looks["g"]


def test_learning_curves_show_every_contender_over_steps_and_time():
    outcomes = [made("ppo"), made("rloo")]
    figure = figures.learning_curves(outcomes)
    steps, time = figure.axes
    assert drawn_labels(figure) == ["ppo", "rloo"]
    assert {COLOURS[4], COLOURS[5]} <= colours_in(steps)
    assert len(steps.collections) == 2  # a band each
    assert "solved: 15" in texts(figure)
    assert "(s)" in time.get_xlabel()
    curve = curve_of(outcomes[0])
    assert (curve.steps[0], curve.steps[-1]) == (BUDGET / 10, BUDGET)
    assert curve.point[-1] == pytest.approx(15)  # of 10 to 20
    assert curve_of(outcomes[0], SECONDS).steps[-1] == 5.0


def test_fewer_than_five_seeds_are_lines_without_a_band_and_it_is_said():
    figure = figures.learning_curves([made("ppo", returns=(1, 2, 3, 4), timed=False)])
    (axis,) = figure.axes
    assert not axis.collections
    assert len([line for line in axis.lines if len(line.get_xdata()) > 2]) == 4
    assert "no band" in axis.get_title("right")


def test_time_that_nobody_recorded_is_not_drawn():
    outcomes = [made("ppo"), made("rloo", timed=False)]
    time = figures.learning_curves(outcomes).axes[1]
    assert "1 more without recorded times" in time.get_title("right")


def test_contenders_of_other_lengths_end_where_they_ended():
    short, long = made("ppo", budget=1000), made("rloo", budget=5000)
    axis = figures.learning_curves([short, made("grpo"), long]).axes[0]
    ends = sorted(line.get_xdata()[-1] for line in axis.lines if len(line.get_xdata()) > 2)
    assert ends == [1000, 1000, 5000]
    assert axis.get_xlim()[1] < 5000
    assert any("rloo" in t.get_text() and "on to 5k" in t.get_text() for t in axis.texts)


def test_final_returns_show_every_seed_best_contender_first():
    outcomes = [made("ppo"), made("rloo", returns=HIGH, failed=(2,))]
    (axis,) = figures.final_returns(outcomes).axes
    assert ticks(axis.yaxis) == ["rloo", "ppo"]
    shown = np.concatenate([line.get_xdata() for line in axis.lines if line.get_alpha() == 0.55])
    everything = np.concatenate([o.known_returns for o in outcomes])
    assert sorted(shown) == sorted(everything)
    low, high = axis.get_xlim()
    assert low < everything.min()
    assert everything.max() < high
    assert any("1 of 8 failed" in t.get_text() for t in axis.texts)


def test_an_unlucky_run_is_within_the_axis():
    outcome = made("ppo", returns=(-500.0, *HIGH), threshold=200.0)
    (axis,) = figures.final_returns([outcome]).axes
    assert axis.get_xlim()[0] < -500
    assert axis.get_xlim()[1] > 200


def test_profile_is_of_all_runs_failed_ones_included():
    outcome = made("ppo", returns=(1, 2, 3, 4), failed=(0,))
    shares = [s.point for s in profile(outcome, np.array([0.0, 2.0, 2.5, 4.0, 5.0]))]
    assert shares == [0.75, 0.75, 0.5, 0.25, 0]


def test_the_matrix_has_the_probability_of_every_pair_and_marks_what_is_decided():
    outcomes = [made("ppo"), made("rloo", returns=HIGH), made("grpo", returns=HIGH)]
    pairs = pairs_of(outcomes)
    probability, decided = matrix(["rloo", "grpo", "ppo"], pairs)
    assert probability[0, 2] == 1
    assert probability[2, 0] == 0
    assert np.isnan(np.diag(probability)).all()
    assert probability[0, 1] == 0.5
    assert decided[0, 2]
    assert not decided[0, 1]
    (axis,) = figures.probability_matrix(outcomes, pairs).axes
    assert len(axis.patches) == 2 * sum(p.better is not None for p in pairs)


def test_pairs_of_too_few_runs_are_in_brackets():
    outcomes = [made("ppo", returns=(1, 2)), made("rloo", returns=(3, 4))]
    (axis,) = figures.probability_matrix(outcomes, pairs_of(outcomes)).axes
    assert sorted(t.get_text() for t in axis.texts) == ["(0.00)", "(1.00)"]
    assert "too few runs" in axis.get_xlabel()


def test_steps_to_threshold_count_runs_that_never_reach_it():
    outcome = made("ppo", returns=[1] * 4, reached=[100, 200, None, None])
    curve = survival(outcome)
    assert curve.share[-1] == 0.5
    assert curve.times[-1] == BUDGET
    (axis,) = figures.steps_to_threshold([outcome]).axes
    (censored,) = [line for line in axis.lines if line.get_marker() == "|"]
    assert censored.get_xdata().tolist() == [BUDGET, BUDGET]
    assert censored.get_ydata().tolist() == [0.5, 0.5]


def test_where_all_have_reached_it_the_curve_goes_on_to_the_budget():
    curve = survival(made("ppo", returns=[20] * 5, reached=[100] * 5))
    assert curve.times[-1] == BUDGET
    assert curve.share[-1] == 0


def test_infinite_relative_variance_runs_along_the_top_edge_and_it_is_said():
    outcomes = [made("ppo"), made("rloo", signal=-1.0)]
    figure = figures.gradient_along_training(outcomes)
    axis = figure.axes[1]
    (lost,) = [line for line in axis.lines if to_hex(line.get_color()).upper() == COLOURS[5]]
    known = [line for line in axis.lines if to_hex(line.get_color()).upper() == COLOURS[4]]
    assert np.isfinite(lost.get_ydata()).all()
    assert (lost.get_ydata() > known[0].get_ydata().max()).all()
    assert (lost.get_ydata() <= axis.get_ylim()[1]).all()
    assert any("∞" in t.get_text() for t in axis.texts)


def test_without_diagnoses_there_is_no_figure_of_the_gradient():
    outcomes = [made("ppo", diagnosed=False)]
    drawn = [i.name for i in figures.draw_all(outcomes, [], "title")]
    assert "gradient_along_training" not in drawn
    assert "no gradient was diagnosed" in texts(figures.gradient_along_training(outcomes))


def test_where_the_next_run_falls_includes_failure_if_runs_fail():
    figure = figures.next_runs([made("ppo", returns=HIGH, failed=(0, 1))])
    assert any("failure to" in text for text in texts(figure))
    few = figures.next_runs([made("ppo", returns=(1, 2))])
    assert any("too few runs" in text for text in texts(few))


def test_a_sweep_is_in_the_order_of_its_values():
    outcomes = [made(f"ppo:lam={x}", lam=x) for x in (1.0, 0.5, 0.9)]
    returns, steps = figures.sweep(outcomes, "lam").axes
    assert ticks(returns.xaxis) == ["0.5", "0.9", "1"]
    assert "3/6" in [t.get_text() for t in steps.texts]
    with pytest.raises(UsageError, match="`clip`"):
        figures.sweep(outcomes, "clip")


def test_sweeps_are_found_among_other_contenders():
    grid = [made(f"ppo:lam={x}", lam=x) for x in (1.0, 0.5, 0.9)]
    others = [made("ppo:clip=2", clip=2), made("rloo"), made("grpo")]
    ((option, contenders),) = figures.sweeps_among(others + grid)
    assert option == "lam"
    assert contenders == grid
    drawn = [i.name for i in figures.draw_all(others + grid, pairs_of(others + grid), "title")]
    assert drawn[-1] == "sweep_lam"


def test_contenders_that_differ_in_more_than_one_option_are_no_sweep():
    outcomes = [made("ppo:a", lam=0.5), made("ppo:b", lam=0.9, clip=1), made("ppo:c", clip=2)]
    assert not figures.sweeps_among(outcomes)


@pytest.mark.parametrize("threshold", [15.0, None])
@pytest.mark.parametrize("count", [1, 2])
def test_the_overview_fits_a_slide_whatever_there_is(threshold, count):
    outcomes = [made(name, threshold=threshold) for name in ("ppo", "rloo")[:count]]
    figure = figures.overview(outcomes, pairs_of(outcomes), "title")
    assert figure.get_figwidth() / figure.get_figheight() == pytest.approx(16 / 9, rel=1e-3)
    assert len(figure.axes) == 4


def test_what_there_is_nothing_of_says_so():
    dead = made("ppo", failed=range(6))
    for figure in (
        figures.final_returns([dead]),
        figures.performance_profile([dead]),
        figures.next_runs([dead]),
    ):
        assert "no run has a final return: training failed" in texts(figure)


def test_labels_of_strangers_are_shown_as_they_are(tmp_path):
    strange = [made("$\\frac{", agent="a.py:f"), made("_<b>$x$", agent="b.py:g")]
    for illustration in figures.draw_all(strange, pairs_of(strange), "$\\oops{ _x"):
        save(illustration.figure, tmp_path / illustration.name, ["png"])
    figure = figures.learning_curves(strange)
    rendered(figure, "svg")
    assert drawn_labels(figure) == ["$\\frac{", "_<b>$x$"]


def test_long_labels_are_broken_and_cut():
    assert wrapped("ppo:lam=0.9") == "ppo:lam=0.9"
    long = wrapped("reinforce-baseline:baseline=variance-optimal," + "x=1," * 30)
    lines = long.split("\n")
    assert len(lines) == MOST_LINES
    assert all(len(line) <= LABEL_WIDTH for line in lines)
    assert lines[0] == "reinforce-baseline:"
    assert long.endswith("…")


def test_every_figure_has_a_caption_and_few_seeds_are_named():
    outcomes = [made("ppo", returns=(1, 2, 3)), made("rloo")]
    drawn = list(figures.draw_all(outcomes, pairs_of(outcomes), "title"))
    assert [i.name for i in drawn] == [
        "overview",
        "learning_curves",
        "final_returns",
        "probability_matrix",
        "steps_to_threshold",
        "performance_profile",
        "next_runs",
        "gradient_along_training",
    ]
    assert all("ppo" in i.caption and "no interval" in i.caption for i in drawn)


def test_figures_are_written_in_every_format_and_no_other(tmp_path):
    illustrations = list(figures.draw_all([made("ppo")], [], "title"))[:1]
    files = figures.save_all(illustrations, tmp_path, ["png", "pdf", "svg"])
    assert [f.read_bytes()[:4] for f in files] == [b"\x89PNG", b"%PDF", b"<?xm"]
    with pytest.raises(UsageError, match="gif"):
        figures.save_all(illustrations, tmp_path, ["gif"])

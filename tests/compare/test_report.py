"""The report: one file that needs nothing else, and shows strangers' text as text."""

import base64
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from pgzoo.compare.figures import Illustration, learning_curves
from pgzoo.compare.report import limits, ranges, write_report
from pgzoo.errors import UsageError
from tests.compare.outcomes import made

STRANGE = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Tags with their attributes, and all text but styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._inside = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data):
        if "style" not in self._inside:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def report(tmp_path, outcomes=None, **changes):
    outcomes = outcomes or [made("ppo"), made("rloo", failed=(2,))]
    arguments = {
        "question": "Which is better?",
        "outcomes": outcomes,
        "tables": {"Pairs": pd.DataFrame({"pair": ["ppo / rloo"], "p": ["0.012"]})},
        "verdicts": ["ppo is better than rloo."],
        "figures": [
            Illustration("curves", "Learning", "Higher is better.", learning_curves(outcomes))
        ],
        "films": {},
        "commands": ["pgzoo compare ppo rloo"],
        "versions": {"torch": "2.9"},
        "notes": ["ppo: reused"],
    }
    path = tmp_path / "report.html"
    write_report(path, **(arguments | changes))
    return Page(path.read_text(encoding="utf-8"))


def test_all_that_matters_is_in_it(tmp_path):
    page = report(tmp_path)
    for text in (
        "Which is better?",
        "ppo is better than rloo.",
        "ppo / rloo",
        "0.012",
        "Higher is better.",
        "pgzoo compare ppo rloo",
        "2.9",
        "ppo: reused",
        "rloo: training of seed 2 was stopped: numbers became non-finite",
        "Ψ = GAE(γ, λ)",
        "0–5",
    ):
        assert text in page.text, text


def test_it_needs_nothing_else(tmp_path):
    film = tmp_path / "film.gif"
    film.write_bytes(b"GIF89a")
    page = report(tmp_path, films={"a film": film})
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "://" not in text
    assert "@import" not in text
    assert not page.all("script")
    assert not page.all("link")
    for tag in ("img", "video"):
        assert all(a["src"].startswith("data:") for a in page.all(tag))
    assert all(a["href"].startswith("#") for a in page.all("a"))
    targets = {a["id"] for a in page.all("section")}
    assert {a["href"][1:] for a in page.all("a")} <= targets
    (policy,) = [a for a in page.all("meta") if "http-equiv" in a]
    assert "default-src 'none'" in policy["content"]


def test_figures_and_films_are_inside(tmp_path):
    still, moving = tmp_path / "a.gif", tmp_path / "b.mp4"
    still.write_bytes(b"GIF89a")
    moving.write_bytes(b"mp4")
    page = report(tmp_path, films={"one": still, "two": moving})
    figure, film = page.all("img")
    assert "Higher is better." in figure["alt"]
    kind, content = re.fullmatch(r"data:(.*);base64,(.*)", figure["src"]).groups()
    assert kind == "image/svg+xml"
    assert b"</svg>" in base64.b64decode(content)
    assert film["src"].startswith("data:image/gif;base64,")
    assert page.all("video")[0]["src"].startswith("data:video/mp4;base64,")
    with pytest.raises(UsageError, match=r"\.gif or \.mp4"):
        report(tmp_path, films={"x": tmp_path / "a.avi"})
    with pytest.raises(UsageError, match="missing"):
        report(tmp_path, films={"x": tmp_path / "missing.gif"})


def test_text_of_strangers_is_shown_and_never_obeyed(tmp_path):
    outcomes = [made(STRANGE, agent=f"{STRANGE}.py:f", note=STRANGE), made("rloo")]
    page = report(
        tmp_path,
        outcomes,
        question=STRANGE,
        tables={STRANGE: pd.DataFrame({STRANGE: [STRANGE]})},
        verdicts=[STRANGE],
        commands=[STRANGE],
        versions={STRANGE: STRANGE},
        notes=[STRANGE],
        figures=[Illustration(STRANGE, STRANGE, STRANGE + "'\"", learning_curves(outcomes))],
    )
    assert not page.all("script")
    assert page.text.count(STRANGE) >= 12


def test_what_cannot_be_said_is_said():
    assert not limits([made("ppo"), made("rloo")])
    outcomes = [
        made("ppo", threshold=None),
        made("rloo", threshold=None, budget=2000, returns=(1, 2)),
    ]
    few, budgets, seeds, threshold = limits(outcomes)
    assert "rloo" in few
    assert "ppo 1,000" in budgets
    assert "rloo 2,000" in budgets
    assert "ppo 6, rloo 2" in seeds
    assert "CartPole-v1" in threshold


def test_undecided_pairs_stand_apart(tmp_path):
    page = report(tmp_path, verdicts=[], undecided=["ppo and rloo: undecided"])
    said = page.text.index("No pair is decided."), page.text.index("ppo and rloo: undecided")
    assert said == tuple(sorted(said))


def test_the_overview_comes_first(tmp_path):
    figure = learning_curves([made("ppo")])
    names = ("learning_curves", "overview")
    page = report(tmp_path, figures=[Illustration(n, n, "", figure) for n in names])
    assert (
        page.text.index("overview")
        < page.text.index("ppo is better")
        < page.text.index("learning_curves")
    )


def test_one_contender_alone_has_a_report(tmp_path):
    page = report(tmp_path, [made("ppo")], verdicts=[], tables={})
    assert "There is no pair to compare." in page.text


def test_seeds_in_ranges():
    assert ranges((0, 1, 2, 5, 7, 8)) == "0–2, 5, 7–8"
    assert ranges((3,)) == "3"

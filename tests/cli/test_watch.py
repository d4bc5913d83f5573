import pytest
from click.testing import CliRunner
from PIL import Image

from pgzoo.cli import main
from pgzoo.cli.display import print_next_commands


def pgzoo(command, status=0):
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("watch")
    options = "--env CartPole-v1 --seeds 0-2 --steps 1000 --hidden 8 --episodes 4 --quiet"
    pgzoo(f"run reinforce {options} --out {path / 'run'}")
    return path


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_watch_makes_a_film_beside_the_run(folder):
    output = pgzoo("watch run")
    assert "seed 0, untrained, episode 0: return" in output
    assert "seed 0, trained, episode 0: return" in output
    assert "kB Film: run/film.gif" in output
    assert "replaced" not in output
    first = (folder / "run/film.gif").read_bytes()
    assert Image.open(folder / "run/film.gif").format == "GIF"
    assert "Film: run/film.gif (replaced)" in pgzoo("watch run")
    assert (folder / "run/film.gif").read_bytes() == first
    assert pgzoo("eval run --episodes 2")


def test_watch_shows_what_it_is_told(folder):
    command = "watch run --seed 1-2 --at 0,100 --episodes 2 --first 5 --greedy --out new/two.gif"
    output = pgzoo(command)
    for panel in ("seed 1, untrained", "seed 2, trained"):
        assert f"{panel}, episode 5" in output
        assert f"{panel}, episode 6" in output
    assert (folder / "new/two.gif").exists()
    assert "raise --seconds to see more" in pgzoo("watch run --seconds 0.1 --out x.gif")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nothing", "no config.json"),
        ("run --seed 7", "Expected a --seed of run (0-2), got 7"),
        ("run --seed x", "Expected --seed as non-negative whole numbers"),
        ("run --at 51", "at 51 percent; there are: 0,"),
        ("run --at half", "expected percents such as 0,20,100"),
        ("run --out f.avi", "Expected --out to end in .gif or .mp4, got 'f.avi'"),
        ("run --out run/config.json/f.gif", "Choose a writable --out"),
        ("run --seconds 0", "Expected --seconds above 0"),
    ],
)
def test_bad_input_is_explained_and_writes_nothing(arguments, message, folder):
    before = {p for p in folder.rglob("*") if p.name != "film.gif"}
    assert message in pgzoo(f"watch {arguments}", status=2)
    assert before == {p for p in folder.rglob("*") if p.name != "film.gif"}


def test_a_film_is_suggested_only_where_there_can_be_one(folder, monkeypatch, capsys):
    import pgzoo_envs
    from rich.console import Console

    monkeypatch.setattr(pgzoo_envs, "renders", lambda env: False)
    summary = {"agent": "reinforce", "env": "CartPole-v1"}
    print_next_commands(Console(), folder / "run", summary)
    output = capsys.readouterr().out
    assert "pgzoo eval" in output
    assert "pgzoo watch" not in output

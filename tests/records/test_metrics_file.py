import hashlib
import os

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pgzoo.errors import UsageError
from pgzoo.records import columns
from pgzoo.records.metrics_file import MetricsFile, as_lines, parse, read_lines, read_metrics
from pgzoo.records.run_folder import RunFolder
from pgzoo.records.schema import LARGEST_FIGURE
from tests.records.examples import CONFIG, METRICS, TENSORS, replica, state


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", CONFIG)


def line(iteration, seed, **figures):
    """With as many steps and episodes as the state of the examples has in the end."""
    given = {"env_steps": 100 * iteration + 300, "episodes": iteration + 18} | figures
    return dict.fromkeys(columns.PROGRESS) | {"iteration": iteration, "seed": seed} | given


def digest(content):
    return hashlib.sha256(content).hexdigest()


def written(folder, content, **changes):
    """Put metrics there, and a checkpoint whose digest is theirs."""
    (folder.path / "metrics.csv").write_bytes(content)
    about = {"metrics_size": len(content), "metrics_digest": digest(content)}
    folder.save_checkpoint(TENSORS, state(**about | changes))


def test_metrics_are_cut_back_to_the_checkpoint(folder):
    file = MetricsFile(folder)
    file.append([line(0, 3, entropy=0.1), line(0, 5, entropy=None)])
    size, known = file.size, file.digest
    file.append([])
    assert (file.size, file.digest) == (size, known)
    file.append([line(1, 3, entropy=0.2)])
    file.close()
    file = MetricsFile(folder, size, known)
    assert (file.size, file.digest) == (size, known)
    progress = {"env_steps": 300, "episodes": 18}
    first = {"iteration": 0, "seed": 3} | progress
    assert file.lines() == [first | {"entropy": 0.1}, first | {"seed": 5}]
    file.append([dict(reversed(line(1, 3, entropy=0.3).items()))])  # whatever their order
    file.sync()
    file.close()
    text = (folder.path / "metrics.csv").read_text()
    assert [each[-3:] for each in text.split()] == ["opy", "0.1", ",,,", "0.3"]
    assert file.digest == digest((folder.path / "metrics.csv").read_bytes())


def test_what_the_checkpoint_knows_is_read(folder):
    assert read_metrics(folder) == {}
    written(folder, METRICS.encode())
    with (folder.path / "metrics.csv").open("a") as file:
        file.write("3,3,600,")  # what comes later, nobody knows yet
    found = read_metrics(folder)
    assert found["env_steps"] == [200, 200, 350, 350, 500, 500]
    assert str(found["return_mean"]) == "[20.0, 20.0, nan, nan, -1.5, -1.5]"
    lines = read_lines(folder)
    assert len(lines) == 6
    assert "return_mean" not in lines[2]
    assert lines[-1]["return_mean"] == -1.5


def test_a_change_before_the_checkpoint_is_noticed(folder):
    """Whichever byte it is, and whatever becomes of it."""
    content = METRICS.encode()
    written(folder, content)
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        (folder.path / "metrics.csv").write_bytes(changed)
        with pytest.raises(UsageError, match=r"metrics\.csv is damaged: .*digest"):
            read_metrics(folder)
        with pytest.raises(UsageError, match=r"metrics\.csv is damaged: .*digest"):
            MetricsFile(folder, len(content), digest(content))
        assert (folder.path / "metrics.csv").read_bytes() == changed


@pytest.mark.parametrize("other", [{"iteration": 1}, line(1, 3, entropy=0, kl_behaviour=0)])
@pytest.mark.parametrize("resumed", [False, True])
def test_lines_of_other_columns_are_refused(folder, other, resumed):
    file = MetricsFile(folder)
    file.append([line(0, 3, entropy=0.1)])
    if resumed:
        size, known = file.size, file.digest
        file.close()
        file = MetricsFile(folder, size, known)
    before = file.size
    with pytest.raises(UsageError, match=r"same columns; not all have (entropy|kl_behav)"):
        file.append([other])
    assert file.size == before
    file.close()


def test_metrics_shorter_than_the_checkpoint_says_are_damaged(folder):
    path = folder.path / "metrics.csv"
    with pytest.raises(UsageError, match=r"is damaged: .*expects at least 10 bytes, found 0"):
        MetricsFile(folder, 10)
    assert not path.exists()
    path.write_text("seed\r\n3\r\n")
    with pytest.raises(UsageError, match="expects at least 10 bytes, found 9"):
        MetricsFile(folder, 10)
    assert path.read_text() == "seed\n3\n"
    folder.save_checkpoint(TENSORS, state())
    with pytest.raises(UsageError, match=r"expects at least 2.. bytes, found 9"):
        read_metrics(folder)
    path.unlink()
    with pytest.raises(UsageError, match=r"expects at least 2.. bytes, found 0"):
        read_metrics(folder)


HEAD, LAST = METRICS.splitlines(keepends=True)[0], METRICS.splitlines(keepends=True)[-1]
DAMAGES = {
    "utf-8": METRICS.encode().replace(b"-1.5", b"-1.\xff"),
    "last line to be whole": METRICS[:-2],
    "no line but": HEAD,
    "line 7 has 6 fields": METRICS[:-7] + "\r\n",
    '"episodes" is missing': METRICS.replace("episodes", "entropy"),
    r'"\.\./x" is unknown': METRICS.replace("length_mean", "length_mean,../x").replace(
        "25.0\r", "25.0,1\r"
    ),
    r"variance_of_\.\.": METRICS.replace(
        "length_mean", "length_mean,gradient_variance_of_.."
    ).replace("25.0\r", "25.0,1\r"),
    "is unknown, or there twice": METRICS.replace("length_mean", "length_mean,episodes").replace(
        "25.0\r", "25.0,1\r"
    ),
    "seed 4, which": METRICS.replace("2,5,", "2,4,"),
    'column "env_steps": .* >= 0': METRICS.replace(",500,", ",-1,"),
    'column "env_steps": .*invalid literal': METRICS.replace(",500,", ",,"),
    'column "seed"': METRICS.replace("2,5,", f"2,{'5' * 5000},"),
    'column "episodes"': METRICS.replace(",20,", f",{10**30},"),
    'column "return_mean": could not': METRICS.replace("-1.5", "x"),
    'column "return_mean": .*got nan': METRICS.replace("-1.5", "nan"),
    'column "return_mean": .*got inf': METRICS.replace("-1.5", "1e999"),
    "iteration by iteration": METRICS.replace("\r\n1,", "\r\n2,"),
    "line for each seed": METRICS.replace("2,5,", "2,3,"),
    "by iteration; it": METRICS.replace("2,3,500", "x")
    .replace("2,5,500", "2,3,500")
    .replace("x", "2,5,500"),
    "it has others": METRICS + "4,3,500,20,,,\r\n",
    "others": METRICS.replace("1,5,350,14,,25.0,25.0\r\n", ""),
    '"env_steps" of a seed never': METRICS.replace(",200,", ",700,"),
    "checkpoint is of 3 iterations": METRICS + "3,3,500,20,,,\r\n",
    "ends with 499 env_steps of seed 3": METRICS.replace(",500,", ",499,"),
    "ends with 21 episodes of seed 3": METRICS.replace(",20,", ",21,"),
    "field larger": METRICS.replace("-1.5", "1" * 200_000),
    "',' expected": METRICS.replace("-1.5", '"\0'),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_metrics_that_nobody_can_have_written_are_refused(folder, message):
    """With a digest that fits: as somebody would do it who means harm."""
    content = DAMAGES[message]
    assert content != METRICS
    written(folder, content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=rf"metrics\.csv is damaged: .*({message})"):
        read_metrics(folder)


def test_a_seed_that_failed_has_no_more_lines(folder):
    content = "".join(t for t in METRICS.splitlines(keepends=True) if t[:4] not in ("1,5,", "2,5,"))
    failed = replica(5, env_steps=200, episodes=8, recent=[1.0] * 8, failed="x", finished=True)
    written(folder, content.encode(), replicas=[replica(3), failed])
    assert read_metrics(folder)["seed"] == [3, 5, 3, 3]


NUMBERS = st.floats(-LARGEST_FIGURE, LARGEST_FIGURE) | st.none()


@given(
    rows=st.lists(
        st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.booleans()), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read(tmp_path_factory, rows):
    folder = RunFolder.create(tmp_path_factory.mktemp("metrics") / "run", CONFIG)
    file, lines, alive = MetricsFile(folder), [], [3, 5]
    for number, figures in enumerate(rows):
        alive = [seed for seed, f in zip((3, 5), figures, strict=True) if f[3] and seed in alive]
        new = [
            line(number, seed, return_mean=f[0], entropy=f[1], gradient_signal_of_rloo=f[2])
            for seed, f in zip((3, 5), figures, strict=True)
            if seed in alive
        ]
        file.append(new)
        lines += new
    expected = [{k: v for k, v in each.items() if v is not None} for each in lines]
    assert file.lines() == expected
    file.close()
    content = (folder.path / "metrics.csv").read_bytes()
    assert as_lines(parse(content, CONFIG.seeds)) == expected
    assert file.digest == digest(content)


def test_reading_follows_no_link(folder, tmp_path):
    written(folder, METRICS.encode())
    (folder.path / "metrics.csv").rename(tmp_path / "outside")
    (folder.path / "metrics.csv").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="got a symbolic link"):
        read_metrics(folder)
    (folder.path / "metrics.csv").unlink()
    os.mkfifo(folder.path / "metrics.csv")
    with pytest.raises(UsageError, match="got a pipe, socket or device"):
        read_metrics(folder)


def test_a_full_disk_is_no_silent_loss(folder, monkeypatch):
    file = MetricsFile(folder)

    class Full:
        def __getattr__(self, name):
            return getattr(whole, name)

        def write(self, content):
            return whole.write(content[:3])

    whole, file._file = file._file, Full()
    with pytest.raises(OSError, match="No space left"):
        file.append([{"seed": 1}])
    file.close()

import pytest

from pgzoo.errors import UsageError
from pgzoo.records.metrics_file import MetricsFile
from pgzoo.records.run_folder import RunFolder
from tests.records.examples import CONFIG


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", CONFIG)


def test_metrics_are_cut_back_to_the_checkpoint(folder):
    assert not folder.has_metrics
    file = MetricsFile(folder)
    file.append([{"iteration": 0, "seed": 1, "x": 0.1}, {"iteration": 0, "seed": 2, "x": None}])
    size = file.size
    file.append([])
    file.append([{"iteration": 1, "seed": 1, "x": 0.2}])
    file.close()
    assert folder.has_metrics
    file = MetricsFile(folder, size)
    assert file.size == size
    assert file.lines() == [{"iteration": 0, "seed": 1, "x": 0.1}, {"iteration": 0, "seed": 2}]
    file.append([{"seed": 1, "iteration": 1, "x": 0.3}])  # whatever their order
    file.sync()
    file.close()
    text = (folder.path / "metrics.csv").read_text()
    assert text.split() == ["iteration,seed,x", "0,1,0.1", "0,2,", "1,1,0.3"]


@pytest.mark.parametrize("line", [{"iteration": 1}, {"iteration": 1, "seed": 1, "x": 0, "y": 0}])
@pytest.mark.parametrize("resumed", [False, True])
def test_lines_of_other_columns_are_refused(folder, line, resumed):
    file = MetricsFile(folder)
    file.append([{"iteration": 0, "seed": 1, "x": 0.1}])
    if resumed:
        size = file.size
        file.close()
        file = MetricsFile(folder, size)
    before = file.size
    with pytest.raises(UsageError, match=r"same columns; not all have (seed, x|y)"):
        file.append([line])
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


def test_metrics_that_would_be_cut_within_a_line_are_damaged(folder):
    path = folder.path / "metrics.csv"
    path.write_text("seed,x\n3,100\n")
    with pytest.raises(UsageError, match="expects a line to end after 10 bytes"):
        MetricsFile(folder, 10)
    assert path.read_text() == "seed,x\n3,100\n"


@pytest.mark.parametrize("content", [b"seed,x\n\xff,1\n", b"seed,x\na,1\n", b"x,y\n1,1\n"])
def test_damaged_metrics_are_explained(folder, content):
    (folder.path / "metrics.csv").write_bytes(content)
    file = MetricsFile(folder, len(content))
    with pytest.raises(UsageError, match=r"metrics\.csv is damaged"):
        file.lines()
    file.close()
    (folder.path / "metrics.csv").write_bytes(b"\xff" + content)
    with pytest.raises(UsageError, match=r"metrics\.csv is damaged"):
        MetricsFile(folder, len(content) + 1)


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

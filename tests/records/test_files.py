import hashlib
import os

import pytest

from pgzoo.errors import UsageError
from pgzoo.records import files


def test_folders_are_numbered(tmp_path):
    parent = tmp_path / "runs"
    (parent / "rloo-CartPole-v1-2").mkdir(parents=True)
    names = [files.free_folder(parent, "rloo-CartPole-v1").name for _ in range(3)]
    assert names == [f"rloo-CartPole-v1-{i}" for i in (1, 3, 4)]
    assert all((parent / name).is_dir() for name in names)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("reinforce++-ALE/Pong-v5", "reinforce++-ALE_Pong-v5-1"),
        ("../../x:y", ".._.._x_y-1"),
        ("a\0b[/3] ψ", "a_b__3__ψ-1"),
        ("ψ" * 300, "ψ" * 100 + "-1"),
    ],
)
def test_a_name_never_leads_out_of_its_parent(tmp_path, stem, name):
    path = files.free_folder(tmp_path, stem)
    assert path == tmp_path / name
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_parent_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match="Choose a writable `out`"):
        files.free_folder(tmp_path / "runs", "rloo")


def test_digest_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_bytes(b"def mine(t): ...\n" * 10_000)
    assert files.digest_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files.digest_of_file(path) == empty
    with pytest.raises(UsageError, match=r"Cannot read .*nowhere\.py: No such file"):
        files.digest_of_file(tmp_path / "nowhere.py")


def no_links(*_, **__):
    raise OSError(95, "Operation not supported")


@pytest.mark.parametrize("link", [os.link, no_links])
def test_a_file_is_made_once(tmp_path, monkeypatch, link):
    monkeypatch.setattr(os, "link", link)
    files.create(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "a", b"second")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"first")]


@pytest.mark.parametrize("link", [os.link, no_links])
def test_a_file_that_cannot_be_made_is_not_there(tmp_path, monkeypatch, link):
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == (1 if link is os.link else 2):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.create(tmp_path / "a", b"first")
    assert list(tmp_path.iterdir()) == []


def test_without_locks_training_goes_on(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("")
    monkeypatch.setattr(files, "fcntl", None)
    with files.locked(tmp_path / "a"), files.locked(tmp_path / "a"):
        pass
    with files.alone_in(tmp_path), files.alone_in(tmp_path):
        pass


def test_what_killed_processes_left_is_removed(tmp_path):
    (tmp_path / "figures").mkdir()
    left = [tmp_path / f".a.{'0f' * 8}.tmp", tmp_path / "figures" / f".b.png.{'12' * 8}.tmp"]
    kept = [tmp_path / ".a.tmp", tmp_path / "figures" / "b.png"]
    for path in left + kept:
        path.write_text("")
    with files.alone_in(tmp_path):
        assert [path.exists() for path in left + kept] == [False, False, True, True]


def test_a_file_system_without_locks_is_no_error(tmp_path, monkeypatch):
    class NoLocks:
        LOCK_EX = LOCK_NB = 0

        def flock(self, *_):
            raise OSError(95, "Operation not supported")

    (tmp_path / "a").write_text("")
    monkeypatch.setattr(files, "fcntl", NoLocks())
    with files.locked(tmp_path / "a"), files.locked(tmp_path / "a"), files.alone_in(tmp_path):
        pass


def test_leftovers_are_not_removed_through_links(tmp_path):
    name = f".a.{'0' * files.DIGITS}.tmp"
    for folder in ("own", "own/inside", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    (tmp_path / "own" / "link").symlink_to(tmp_path / "elsewhere")
    with files.alone_in(tmp_path / "own"):
        assert not list((tmp_path / "own").rglob("*.tmp"))
        assert (tmp_path / "elsewhere" / name).exists()

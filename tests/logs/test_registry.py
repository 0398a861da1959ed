from pathlib import Path

import pytest

from viae.errors import EmptyLogError, LogError, LogNotFoundError, UnknownFormatError
from viae.logs import find_logs, formats, open_log
from viae.testing import write_lerobot


def test_built_in_formats_are_installed():
    assert {"lerobot", "mcap"} <= {format_.name for format_ in formats()}


def test_missing_path(tmp_path: Path):
    path = tmp_path / "absent.mcap"
    with pytest.raises(LogNotFoundError) as caught:
        open_log(path)
    assert str(caught.value) == f"{path}: there is nothing here. Check the path"
    assert caught.value.exit_code == 2
    with pytest.raises(LogNotFoundError):
        find_logs(path)


def test_empty_file(tmp_path: Path):
    path = tmp_path / "empty.mcap"
    path.touch()
    with pytest.raises(EmptyLogError) as caught:
        open_log(path)
    assert str(caught.value) == (
        f"{path}: the file holds no bytes. Copy it again from the robot, or delete it"
    )


def test_unknown_format_says_what_it_found_and_what_it_knows(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(UnknownFormatError) as caught:
        open_log(path)
    assert str(caught.value).startswith(
        f"{path}: begins with b'hello'; expected one of the formats"
    )
    assert "mcap, rlds" in str(caught.value)


def test_a_file_named_on_purpose_is_a_log(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    assert find_logs(path).logs == (path,)


def test_finds_logs_below_a_folder_and_says_what_it_skipped(tmp_path: Path):
    dataset = write_lerobot(tmp_path / "b" / "dataset")
    log = tmp_path / "a" / "deep" / "x.mcap"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"")
    (tmp_path / "readme.md").write_text("hi")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "hidden.mcap").touch()
    (tmp_path / "dead link").symlink_to(tmp_path / "gone")
    found = find_logs(tmp_path)
    assert found.logs == (log, dataset)
    assert found.skipped == (tmp_path / ".git", tmp_path / "dead link", tmp_path / "readme.md")


def test_a_dataset_is_one_log(tmp_path: Path):
    dataset = write_lerobot(tmp_path / "dataset")
    assert find_logs(dataset).logs == (dataset,)


def test_symlink_loops_end(tmp_path: Path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "x.mcap").touch()
    (inner / "loop").symlink_to(tmp_path)
    assert find_logs(tmp_path).logs == (inner / "x.mcap",)


def test_a_log_that_the_system_keeps_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "log.mcap"
    path.write_text("closed")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(LogError) as caught:
        open_log(path)
    expected = f"{path}: it cannot be read (Permission denied). Check its permissions"
    assert str(caught.value) == expected


def test_what_is_unfinished_is_read_only_if_named(tmp_path: Path):
    path = tmp_path / "run.mcap.partial"
    path.write_bytes(b"\x89MCAP0\r\n")
    assert find_logs(tmp_path).logs == ()
    assert find_logs(tmp_path).skipped == (path,)
    assert find_logs(path).logs == (path,)

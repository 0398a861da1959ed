"""What every log format keeps to, as tests. Subclass, say which format and how to make a log."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from viae.errors import LogError, LogNotFoundError
from viae.logs import Item, Log, LogFormat, Statement, formats, open_log
from viae.schema import Kind, Loss, Samples, StreamSpec, VideoGroup

MAX_BLOCK = 1 << 14
"""Samples in one block: a reader is asked to hold no more than a block at a time."""


class LogFormatContract:
    """The published contract of `LogFormat`.

    Override ``format`` and ``make_log``. Damage is made here: each file of the log is emptied, cut
    short and flipped in turn.
    """

    format: ClassVar[LogFormat]

    def make_log(self, folder: Path) -> Path:
        """Write a whole log into an empty folder, with at least one episode; return its path."""
        raise NotImplementedError

    @pytest.fixture
    def log_path(self, tmp_path: Path) -> Path:
        """A whole log."""
        folder = tmp_path / "made"
        folder.mkdir()
        return self.make_log(folder)

    def test_is_installed(self) -> None:
        """An entry point in the group viae.logs names it."""
        assert any(type(installed) is type(self.format) for installed in formats())

    def test_recognises_its_own_logs(self, log_path: Path) -> None:
        """And open_log finds it."""
        assert self.format.recognises(log_path)
        assert open_log(log_path).format == self.format.name

    def test_does_not_recognise_others(self, tmp_path: Path) -> None:
        """A folder of notes, and the notes."""
        notes = tmp_path / "notes.txt"
        notes.write_text("nothing to see")
        assert not self.format.recognises(notes)
        assert not self.format.recognises(tmp_path)

    def test_missing_path(self, tmp_path: Path) -> None:
        """Is said to be missing."""
        with pytest.raises(LogNotFoundError, match="there is nothing here"):
            open_log(tmp_path / "absent")

    def test_has_episodes_and_no_losses(self, log_path: Path) -> None:
        """A whole log gives episodes with samples, and nothing was lost."""
        log = self.format.open(log_path)
        assert log.path == log_path
        episodes = [list(episode.read()) for episode in log.episodes]
        assert episodes
        assert not log.losses
        for items in episodes:
            assert not [item for item in items if isinstance(item, Loss)]
            assert any(isinstance(item, Samples | VideoGroup) for item in items)

    def test_fingerprint_is_of_the_content_alone(self, log_path: Path, tmp_path: Path) -> None:
        """Equal for a copy elsewhere, different between episodes."""
        copy = _copy(log_path, tmp_path / "else where" / f"other{log_path.suffix}")
        prints = [episode.fingerprint() for episode in self.format.open(log_path).episodes]
        assert prints == [episode.fingerprint() for episode in self.format.open(copy).episodes]
        assert len(set(prints)) == len(prints)
        assert all(int(print_, 16) >= 0 for print_ in prints)

    def test_episodes_have_ranges(self, log_path: Path) -> None:
        """Each episode of a log has its own."""
        ranges = [episode.range for episode in self.format.open(log_path).episodes]
        assert len(set(ranges)) == len(ranges)

    def test_reads_the_same_twice(self, log_path: Path) -> None:
        """From one opened log, and from another."""
        log = self.format.open(log_path)
        first = [_digest(episode.read()) for episode in log.episodes]
        assert first == [_digest(episode.read()) for episode in log.episodes]
        assert first == [_digest(e.read()) for e in self.format.open(log_path).episodes]

    def test_streams_are_consistent(self, log_path: Path) -> None:
        """One spec per name; seq increases over all blocks; blocks are small."""
        for episode in self.format.open(log_path).episodes:
            specs: dict[str, StreamSpec] = {}
            last: dict[str, int] = {}
            for item in episode.read():
                assert isinstance(item, Samples | VideoGroup | Statement | Loss)
                if isinstance(item, Samples | VideoGroup):
                    name = item.spec.name
                    assert specs.setdefault(name, item.spec) == item.spec
                    assert 0 < len(item) <= MAX_BLOCK
                    assert isinstance(item, VideoGroup) or item.seq[0] > last.get(name, -1)
                    last[name] = int(item.seq[-1])

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
    def test_cut_short(self, log_path: Path, tmp_path: Path, share: float) -> None:
        """A LogError or a Loss says so, unless all is still there; nothing is invented."""
        whole = _samples(self.format.open(log_path))
        for broken in _broken(log_path, tmp_path, lambda data: data[: int(len(data) * share)]):
            try:
                log = open_log(broken)
                losses: list[object] = [*log.losses]
                kept = _samples(log, losses)
            except LogError as error:
                assert str(tmp_path) in str(error)
                continue
            assert losses or kept == whole
            for key, capture_ns in kept.items():
                assert whole.get(key) == capture_ns

    @pytest.mark.parametrize("seed", range(10))
    def test_flipped_bytes(self, log_path: Path, tmp_path: Path, seed: int) -> None:
        """Whatever comes of it, it is no other exception than LogError."""
        rng = random.Random(seed)

        def flip(data: bytes) -> bytes:
            flipped = bytearray(data)
            for _ in range(rng.choice([1, 3, 30]) if data else 0):
                flipped[rng.randrange(len(flipped))] ^= rng.randrange(1, 256)
            return bytes(flipped)

        for broken in _broken(log_path, tmp_path, flip):
            try:
                _samples(open_log(broken))
            except LogError as error:
                assert str(tmp_path) in str(error)


def _samples(log: Log, losses: list[object] | None = None) -> dict[tuple[str, str, int], int]:
    """Capture time by episode range, stream and seq; raw bytes of undecodable messages left out."""
    found = {}
    for episode in log.episodes:
        for item in _read(episode.read(), losses):
            if isinstance(item, Samples | VideoGroup) and item.spec.kind is not Kind.BYTES:
                for seq, capture_ns in zip(
                    item.seq.tolist(), item.capture_ns.tolist(), strict=True
                ):
                    found[episode.range, item.spec.name, seq] = capture_ns
    return found


def _read(items: Iterator[Item], losses: list[object] | None) -> Iterator[Item]:
    """The items of an episode. Where losses are collected, an unreadable episode is one."""
    try:
        for item in items:
            if losses is not None and isinstance(item, Loss):
                losses.append(item)
            yield item
    except LogError as error:
        if losses is None:
            raise
        losses.append(error)


def _digest(items: Iterator[Item]) -> str:
    digest = hashlib.blake2b()
    for item in items:
        if isinstance(item, Samples | VideoGroup):
            for times in (item.capture_ns, item.arrival_ns, item.seq):
                digest.update(times.tobytes())
            values: Any = item.packets if isinstance(item, VideoGroup) else item.values
            digest.update(repr(item.spec).encode())
            for value in values:
                data = value.tobytes() if isinstance(value, np.ndarray | np.generic) else value
                digest.update(data.encode() if isinstance(data, str) else data)
        else:
            digest.update(repr(item).encode())
    return digest.hexdigest()


def _copy(path: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copytree(path, to) if path.is_dir() else shutil.copy(path, to))


def _broken(path: Path, folder: Path, damage: Callable[[bytes], bytes]) -> Iterator[Path]:
    """The log with each of its files damaged in turn."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for number, file in enumerate(files):
        copy = _copy(path, folder / f"broken {number}" / path.name)
        victim = copy / file.relative_to(path) if path.is_dir() else copy
        victim.chmod(0o644)
        victim.write_bytes(damage(victim.read_bytes()))
        yield copy

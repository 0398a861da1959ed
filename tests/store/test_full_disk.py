"""A full disk: one sentence, and what was committed is whole."""

import os
import subprocess

import lance
import numpy as np
import pytest

from builders import STATE, samples, write
from viae.errors import StoreError, StoreFullError
from viae.schema import StreamSpec
from viae.store import Store


def test_no_space_is_told_with_what_was_kept(tmp_path, monkeypatch):
    store = Store.create(tmp_path)
    write(store, "a", [samples(STATE, [[1, 2]])])

    def full(*_args, **_options):
        raise OSError("LanceError(IO): Generic LocalFileSystem error: No space left on device (28)")

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StoreFullError) as caught:
        write(store, "b", [samples(STATE, [[3, 4]])])
    assert caught.value.kept == 1
    assert str(caught.value) == (
        f"{tmp_path}: no space left on the device; the 1 episodes already committed are whole. "
        "Free some space and run the same command again: it goes on where it stopped"
    )
    monkeypatch.undo()
    assert store.episode_ids() == {"a"}
    assert write(store, "b", [samples(STATE, [[3, 4]])]) == 1


def test_no_space_before_the_first_table(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError("no space left on device")

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StoreFullError) as caught:
        Store.create(tmp_path / "new")
    assert caught.value.kept == 0


def test_any_other_failure_keeps_its_own_words(tmp_path, monkeypatch):
    store = Store.create(tmp_path)

    def refuse(*_args, **_options):
        raise OSError("permission denied")

    monkeypatch.setattr(lance, "write_dataset", refuse)
    with pytest.raises(StoreError, match="cannot be written: permission denied") as caught:
        write(store, "b", [samples(STATE, [[3, 4]])])
    assert not isinstance(caught.value, StoreFullError)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    store = Store.create(small_disk / "store")
    big = StreamSpec(name="noise", shape=(1000,))
    values = np.random.default_rng(0).standard_normal((50, 1000))  # 400 kB that do not compress
    written = []
    with pytest.raises(StoreFullError) as caught:
        for number in range(10):
            write(store, f"e{number}", [samples(big, values)])
            written.append(f"e{number}")
    assert caught.value.kept == len(written) > 0
    again = Store.open(store.uri)
    assert again.episode_ids() == set(written)
    for read in again.samples(written, ["noise"]).values():
        assert (read.values == values).all()

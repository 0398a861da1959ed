"""Trained things as folders: whole or not at all, and damage is named."""

import json

import pytest

from viae.errors import BundleError
from viae.model import Bundle
from viae.model.folder import read_folder, write_folder


def write(folder, text="1", **fields):
    write_folder(
        folder, "card.json", {"compatibility": 1, **fields},
        lambda into: (into / "rest").write_text(text), what="thing",
    )  # fmt: skip


def test_there_and_back(tmp_path):
    write(tmp_path / "a", size=3)
    assert read_folder(tmp_path / "a", "card.json", newest=1) == {"compatibility": 1, "size": 3}
    write(tmp_path / "a", "2", size=4)
    assert (tmp_path / "a/rest").read_text() == "2"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_what_fails_leaves_the_old_one(tmp_path):
    write(tmp_path / "a", "old")

    def fail(into):
        (into / "rest").write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_folder(tmp_path / "a", "card.json", {}, fail)
    assert (tmp_path / "a/rest").read_text() == "old"
    write(tmp_path / "a", "new")  # what was left of the failure is in no way
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(BundleError, match="this exists and is no thing"):
        write(tmp_path / "thesis")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{}", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "is no card of a thing"),
        (b'{"compatibility": "new"}', "is no card of a thing"),
        (b'{"compatibility": 2}', r"number 2; this viae reads up to 1. Upgrade"),
    ],
)
def test_a_damaged_card(tmp_path, content, said):
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(BundleError, match=said):
        read_folder(tmp_path, "card.json", newest=1, what="thing")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"there is no bundle here \(bundle.json is missing\)"):
        Bundle.load(tmp_path / "file")


def test_a_base_model_is_no_cloned_policy(tmp_path):
    (tmp_path / "bundle.json").write_text(json.dumps({"kind": "base", "compatibility": 1}))
    with pytest.raises(BundleError, match="of kind 'base', not a cloned policy"):
        Bundle.load(tmp_path)

"""Errors are built from facts, keep them, and travel between processes."""

import pickle

import pytest

from viae import errors

MADE = [
    errors.ViaeError("plain"),
    errors.UsageError("plain"),
    errors.MissingExtraError("torch", extra="train"),
    errors.LogNotFoundError("a.mcap", found="nothing", todo="check the path"),
    errors.DamagedLogError(
        "a.mcap", found="x", expected="y", todo="copy it", stream="q", at_ns=1_500_000_000
    ),
    errors.StoreNotFoundError("s"),
    errors.StoreVersionError("s", found=2, supported=1),
    errors.StoreFullError("s", kept=3),
    errors.NoSuchEpisodeError("s", "ab", candidates=2),
    errors.BundleError("plain"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda e: type(e).__name__)
def test_they_come_back_from_another_process_with_their_facts(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert back.exit_code in (1, 2)


def test_texts_say_where_what_and_what_to_do():
    assert str(MADE[2]) == (
        "this needs the package 'torch', which is not installed: run  pip install 'viae[train]'"
    )
    assert str(MADE[3]) == "a.mcap: nothing. Check the path"
    assert str(MADE[4]) == "a.mcap, stream 'q', at 1.500 s: x; expected y. Copy it"
    assert str(MADE[6]) == (
        "s: this store has compatibility number 2; this viae reads up to 1. Upgrade with  "
        "pip install -U viae"
    )
    assert MADE[4].at_ns == 1_500_000_000

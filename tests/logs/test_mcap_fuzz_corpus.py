"""What the fuzzer found interesting is read in every run, with what the fuzzer demands."""

from pathlib import Path

import pytest

from viae.errors import LogError
from viae.logs import open_log
from viae.logs.mcap.layout import MAGIC
from viae.schema import Samples, VideoGroup

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus"


def test_the_corpus_is_small():
    sizes = [path.stat().st_size for path in CORPUS.iterdir()]
    assert 0 < sum(sizes) < 300_000


@pytest.mark.parametrize("first", "0123456789abcdef")
def test_every_input_is_read_or_refused(tmp_path, first):
    """Files are named by their SHA-1; those that begin with the same digit are one test."""
    path = tmp_path / "log.mcap"
    for each in CORPUS.glob(f"{first}*"):
        data = each.read_bytes()
        path.write_bytes(data if data.startswith(MAGIC) else MAGIC + data)
        try:
            for episode in open_log(path).episodes:
                for item in episode.read():
                    if isinstance(item, Samples | VideoGroup):
                        assert (item.arrival_ns >= 0).all()
        except LogError:
            continue

"""Pictures in `viae tokens`: what they cost, and how they come back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from builders import png, samples, write
from viae.errors import BundleError, UsageError
from viae.model.bundle import Provenance
from viae.model.tokens.grid import Painter
from viae.model.tokens.picture import PictureConfig, PictureNet
from viae.model.tokens.runs import PictureCodec
from viae.model.tokens.spending import look_at, psnr, spend
from viae.model.tokens.tokenizer import PictureTokenizer
from viae.schema import NS_PER_S, Kind, StreamSpec
from viae.store import Store
from viae.verbs.tokens import tokens
from viae.verbs.tokens_page import tokens_page

FILM = StreamSpec(name="film", kind=Kind.IMAGE, dtype="uint8", shape=(16, 24, 3), encoding="png")
COUNTS = (4, 9)


def frames(number):
    out = np.full((COUNTS[number], 16, 24, 3), 60, np.uint8)
    for step in range(len(out)):
        out[step, 4 : 8 + number, step : step + 6] = (230, 40, 90)
    return out


@pytest.fixture()
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    for number, count in enumerate(COUNTS):
        film = [png(frame) for frame in frames(number)]
        times = (np.arange(count) * NS_PER_S // 10).tolist()
        write(store, f"e{number}", [samples(FILM, film, times)], start_ns=0, end_ns=10**9)
    return store


@pytest.fixture()
def tokenizer(tmp_path: Path) -> PictureTokenizer:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = PictureNet(PictureConfig(size=(16, 24), patch=8, levels=(4, 4), width=8, depth=1))
    made = PictureTokenizer(
        codec=PictureCodec(Painter(net.eval()), threshold=0.01, room=8), stream="film",
        provenance=Provenance(store="", snapshot={}, episodes={}),
    )  # fmt: skip
    made.save(tmp_path / "tokenizer")
    return made


def test_what_pictures_cost_and_lose(store, tokenizer, tmp_path):
    report = tokens(store, pictures=[tmp_path / "tokenizer"])
    found = report.pictures["film"]
    assert "film" not in report.without and not report.failed
    spent, dense = [], []
    for number in range(2):
        own = frames(number).transpose(0, 3, 1, 2)
        looks = look_at(tokenizer.codec.painter, own)
        spent.append(spend(tokenizer.codec, own, looks))
        dense.append(np.array([look.errors.mean() for look in looks]))
    assert found.samples == sum(COUNTS)
    assert found.tokens == sum(int(each.tokens.sum()) for each in spent)
    assert found.dense_tokens == 6 * sum(COUNTS)
    assert found.psnr == pytest.approx(psnr(np.concatenate([each.errors for each in spent])))
    assert found.dense_psnr == pytest.approx(psnr(np.concatenate(dense)))
    assert found.duration_s == pytest.approx(0.3 + 0.8)
    assert found.episode_id == "e1"
    assert [panel.at_s for panel in found.panels] == pytest.approx([0.2, 0.4, 0.6])
    assert report.to_json()["pictures"][0]["tokens"] == found.tokens


def test_the_page_shows_them(store, tokenizer, tmp_path):
    report = tokens(store, pictures=[tmp_path / "tokenizer"])
    text = tokens_page(report, tmp_path / "page.html").read_text()
    assert text.count("data:image/jpeg;base64,") == 3
    assert "what was sent outlined" in text


def test_by_command(viae, store, tokenizer, tmp_path):
    given = ("tokens", "--store", store.uri, "--pictures", tmp_path / "tokenizer")
    said = viae(*given, "--out", tmp_path / "page.html")
    assert said.code == 0, said.err
    assert "fewer than dense" in said.out and (tmp_path / "page.html").exists()
    assert "name it by --pictures" in viae("tokens", "--store", store.uri).out


def test_what_cannot_be_is_refused(store, tokenizer, tmp_path):
    folder = tmp_path / "tokenizer"
    with pytest.raises(UsageError, match="a second tokenizer for 'film'"):
        tokens(store, pictures=[folder, folder])
    with pytest.raises(BundleError, match="there is no tokenizer here"):
        tokens(store, pictures=[tmp_path])
    with pytest.raises(UsageError, match="no episode has a stream 'film'"):
        other = Store.create(tmp_path / "other")
        write(other, "e", [samples(StreamSpec(name="x", shape=(1,)), [[1]])])
        tokens(other, pictures=[folder])

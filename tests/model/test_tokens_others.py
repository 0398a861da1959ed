"""Times, texts and wide vectors as tokens."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.errors import BundleError, TokenError
from viae.model.tokens import SILENT, ResidualCodec, TextCodec, TimeCodec, codec_from_json
from viae.schema import StreamSpec

PERIOD = 33_333_333
WIDE = StreamSpec(name="scan", dtype="float32", shape=(96,))


def saved(codec, folder=None):
    if folder:
        codec.save_arrays(folder)
    return codec_from_json(json.loads(json.dumps(codec.to_json())), folder)


@pytest.fixture(scope="module")
def times():
    rng = np.random.default_rng(0)
    jitter = np.round(10 ** rng.uniform(5, 8, 2000)).astype(np.int64)
    return np.concatenate([np.full(3000, PERIOD), np.zeros(500, np.int64), jitter])


def test_common_times_are_exact_and_others_close(times):
    codec = TimeCodec.fit(times)
    tokens = codec.encode(times)
    back = codec.decode(tokens)
    assert back.dtype == np.int64
    common = (times == PERIOD) | (times == 0)
    assert (back[common] == times[common]).all()
    assert (np.abs(back - times)[~common] <= 0.25 * times[~common]).mean() > 0.95
    assert (codec.encode(back) == tokens).all()
    assert codec.check(times) == []


def test_a_time_outside_the_fit_keeps_its_magnitude_and_is_named(times):
    codec = TimeCodec.fit(times)
    strange = np.array([40 * 10**9, -(10**7), 5 * 10**14, 10**17], np.int64)
    back = codec.decode(codec.encode(strange))
    assert (np.abs(np.log10(back[:3] / strange[:3])) < 0.25).all()
    assert back[3] > 10**14
    assert "is 40 s in row 0, outside the 0 to" in dict(codec.check(strange))["time"]
    low, high = codec.cell(strange)
    assert ((low[:, 0] <= strange) & (strange <= high[:, 0])).all()


def test_times_save_and_refuse(times):
    codec = TimeCodec.fit(times)
    again = saved(codec)
    assert (again.encode(times) == codec.encode(times)).all()
    assert (again.describe(times) == codec.describe(times)).all()
    assert again.check(times[:1] - 10**12) == codec.check(times[:1] - 10**12)
    with pytest.raises(TokenError, match="int64"):
        codec.encode(times.astype(float))
    with pytest.raises(TokenError, match="no times"):
        TimeCodec.fit(np.empty(0, np.int64))
    with pytest.raises(TokenError, match="one token below"):
        codec.decode(np.array([[10**6]]))


@given(st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=80), st.integers(16, 64))
def test_every_time_has_a_token_that_is_its_own_again(ns, bins):
    values = np.array(ns, np.int64)
    codec = TimeCodec.fit(values[: len(values) // 2 + 1], bins=bins)
    tokens = codec.encode(values)
    assert (tokens >= 0).all() and (tokens < codec.slots[0]).all()
    assert (codec.encode(codec.decode(tokens)) == tokens).all()


SAID = ["push the button", "open the drawer", "péché 🤖\n\0 end", ""]


def test_any_text_comes_back():
    codec = TextCodec.fit(SAID * 3, stream="said")
    other = ["Zwölf Boxkämpfer", "水", " two  spaces ", "\x00\x7f", "a"]
    for texts in (SAID, other):
        tokens = codec.encode(texts, None)
        assert tokens.shape == (len(texts), len(codec.slots))
        assert codec.decode(tokens, None) == texts
        assert saved(codec).decode(tokens, None) == texts
    assert (codec.encode(["a"], None)[0, 2:] == SILENT).all()
    assert codec.token_ids("push the button") == codec.token_ids("push the button")


@given(st.lists(st.text(max_size=12), max_size=5), st.lists(st.text(max_size=12), max_size=5))
def test_texts_round_trip(fitted_on, texts):
    codec = TextCodec.fit([*fitted_on, *texts])
    before = ["", *texts][: len(texts)]
    assert codec.decode(codec.encode(texts, before), before) == texts


def test_the_same_text_again_is_one_token():
    codec = TextCodec.fit(SAID)
    tokens = codec.encode(["open the drawer"], ["open the drawer"])
    assert (tokens != SILENT).sum() == 1
    assert codec.decode(tokens, ["open the drawer"]) == ["open the drawer"]
    with pytest.raises(TokenError, match="repeats the text before"):
        codec.decode(tokens, None)


def test_a_text_that_does_not_fit_is_refused():
    codec = TextCodec.fit(SAID * 8, stream="said", most=4)
    with pytest.raises(TokenError, match=r"'said': the text in row 1 takes \d+ tokens"):
        codec.encode(["push", "x" * 100], None)
    with pytest.raises(TokenError, match="no Unicode"):
        codec.encode(["\ud800"], None)
    with pytest.raises(TokenError, match="tokens are"):
        codec.decode(np.array([[10**6, 0, 0, 0]]), None)


def test_the_bag_of_a_text_does_not_hang_on_the_vocabulary():
    a, b = TextCodec.fit(SAID), TextCodec.fit(["else"], vocabulary=300)
    texts = ["open the drawer", "open the door", "xyzzy"]
    shown = a.describe(texts, None)
    assert shown.shape == (3, a.features) and (shown == b.describe(texts, None)).all()
    assert np.linalg.norm(shown[0] - shown[1]) < np.linalg.norm(shown[0] - shown[2])


def test_a_pretrained_tokenizer_of_a_folder(tmp_path):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    card = json.dumps(TextCodec.fit(SAID).pairs)
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(card)).save_pretrained(tmp_path)
    codec = TextCodec.pretrained(tmp_path, SAID)
    assert codec.decode(codec.encode(SAID, None), None) == SAID
    with pytest.raises(TokenError, match="no tokenizer that viae can use"):
        TextCodec.pretrained(tmp_path / "none", SAID)


def scans(count=1500, seed=0):
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((count, 4)) @ np.random.default_rng(1).standard_normal((4, 96))
    places[:, 7] = 2.5
    places[:, 9] = places[:, 8]
    return places.astype(np.float32)


def test_wide_vectors_come_back_about(tmp_path):
    values = scans()
    codec = ResidualCodec.fit(values, None, WIDE, first=True, codes=64, levels=3, group=32)
    assert codec.slots == (64,) * 9
    assert 7 in codec.elements.constant and codec.elements.repeat == {9: ("now", 8)}
    tokens = codec.encode(values, None)
    back = codec.decode(tokens, None)
    assert back.dtype == np.float32
    assert (back[:, 7] == 2.5).all() and (back[:, 9] == back[:, 8]).all()
    assert np.abs(back - values).mean() < 0.25 * values.std()
    assert codec.check(values, None) == []
    assert "which its code misses" in dict(codec.check(values * 40, None))["0"]
    again = saved(codec, tmp_path)
    assert (again.encode(values, None) == tokens).all()
    assert (again.describe(values, None) == codec.describe(values, None)).all()
    with pytest.raises(BundleError, match="code books"):
        saved(codec)
    same = ResidualCodec.fit(values, None, WIDE, first=True, codes=64, levels=3, group=32)
    assert (same.encode(values, None) == tokens).all()


def test_wide_vectors_use_the_sample_before():
    values = np.cumsum(scans(2000), axis=0).astype(np.float32)
    old = np.concatenate([np.full((1, 96), np.nan, np.float32), values[:-1]])
    codec = ResidualCodec.fit(values, old, WIDE, first=False, codes=32, levels=2)
    assert codec.steps.mean() > 0.9
    back = codec.decode(codec.encode(values[1:], old[1:]), old[1:])
    assert np.abs(back - values[1:]).mean() < 0.05 * values.std()
    with pytest.raises(TokenError, match="in the sample before row 0"):
        codec.encode(values[:1], old[:1])


def test_infinite_ranges_of_a_scan_come_back_infinite():
    values = scans()
    values[values > 3] = np.inf
    codec = ResidualCodec.fit(values, None, WIDE, first=True, codes=128, levels=4, group=16)
    back = codec.decode(codec.encode(values, None), None)
    assert (np.isinf(back) == np.isinf(values)).mean() > 0.98
    with pytest.raises(TokenError, match="is nan"):
        codec.encode(np.full((1, 96), np.nan, np.float32), None)


def test_bad_wide_tokens():
    codec = ResidualCodec.fit(scans(300), None, WIDE, first=True, codes=16, levels=1)
    with pytest.raises(TokenError, match="slots are"):
        codec.decode(np.full((1, len(codec.slots)), 99), None)


def test_codecs_do_not_load_sklearn_or_transformers_to_be_imported():
    said = subprocess.run(
        [sys.executable, "-c",
         "import viae.model.tokens, sys; print([m for m in ('sklearn', 'transformers', 'scipy') "
         "if m in sys.modules])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "sklearn" not in said.stdout and "transformers" not in said.stdout

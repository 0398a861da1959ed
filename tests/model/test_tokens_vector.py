"""Vectors as tokens: atoms, bins, what has no token, what is refused."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from viae.errors import TokenError
from viae.model.tokens import VectorCodec, codec_from_json, previous
from viae.schema import StreamSpec

FLOATS = ("float32", "float64")
INTS = ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")


def spec(size, dtype="float64", names=()):
    return StreamSpec(name="s", dtype=dtype, shape=(size,), names=names)


def before(values):
    """The sample before each of one episode; none before the first."""
    return previous(values)


def fitted(values, *, first=False, dtype=None, **options):
    own = spec(values.shape[1], dtype or values.dtype.name)
    return VectorCodec.fit(values, None if first else before(values), own, first=first, **options)


def walk(count=4000, size=3, seed=0):
    return np.cumsum(np.random.default_rng(seed).standard_normal((count, size)), axis=0) * 0.01


def saved(codec):
    return codec_from_json(json.loads(json.dumps(codec.to_json())))


def test_smooth_elements_are_coded_by_difference_and_noise_by_value():
    values = walk()
    values[:, 1] = np.random.default_rng(1).standard_normal(len(values))
    codec = fitted(values)
    assert [codec.codings[j].difference for j in range(3)] == [True, False, True]
    assert codec.slots == (256,) * 3
    tokens = codec.encode(values[1:], before(values)[1:])
    back = codec.decode(tokens, before(values)[1:])
    spread = np.ptp(values, axis=0)
    assert (np.abs(back - values[1:]).mean(0) < spread / 500).all()
    assert not any(c.difference for c in fitted(values, first=True).codings.values())


def test_what_is_common_is_exact():
    rng = np.random.default_rng(0)
    values = np.clip(rng.standard_normal((2000, 2)), -1, 1)
    values[::3, 1] = 0.25
    codec = fitted(values, first=True)
    assert {-1.0, 1.0} <= set(codec.codings[0].bins.atoms)
    assert {-1.0, 0.25, 1.0} <= set(codec.codings[1].bins.atoms)
    common = np.array([[1.0, 0.25], [-1.0, -1.0]])
    assert (codec.decode(codec.encode(common, None), None) == common).all()
    low, high = codec.cell(common, None)
    assert (low == common).all() and (high == common).all()
    assert (codec.log_width(codec.encode(common, None)) == 0).all()


def test_an_element_that_mostly_holds_has_an_exact_zero():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.standard_normal((500, 1)), 10, axis=0).astype(np.float32)
    values = np.concatenate([values, walk(5000, 1).astype(np.float32)], axis=1)
    codec = fitted(values)
    assert codec.codings[0].difference and 0.0 in codec.codings[0].bins.atoms
    old = before(values)[1:]
    held = values[1:, 0] == values[:-1, 0]
    back = codec.decode(codec.encode(values[1:], old), old)
    assert (back[held, 0] == values[1:][held, 0]).all()


@pytest.mark.parametrize("dtype", INTS)
def test_few_whole_numbers_are_exact(dtype):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 120, (3000, 2)).astype(dtype)
    if dtype in ("int64", "uint64"):
        values += np.array(2**60 + 1, dtype)
    codec = fitted(values)
    old = values[:-1]
    back = codec.decode(codec.encode(values[1:], old), old)
    assert back.dtype == dtype and (back == values[1:]).all()


def test_bools_take_two_values_and_nothing_else():
    values = np.random.default_rng(0).integers(0, 2, (100, 1)).astype(bool)
    codec = fitted(values)
    assert codec.slots == (2,)
    assert (codec.decode(np.array([[0], [1]]), None) == [[False], [True]]).all()
    assert codec.encode(values, None)[:, 0].tolist() == values[:, 0].astype(int).tolist()


def test_many_whole_numbers_stay_whole():
    values = np.random.default_rng(0).integers(-30000, 30000, (5000, 1)).astype(np.int16)
    codec = fitted(values, first=True)
    back = codec.decode(codec.encode(values, None), None)
    assert back.dtype == np.int16
    assert np.abs(back.astype(int) - values).max() < 60000 / 50
    drawn = codec.decode(codec.encode(values, None), None, rng=np.random.default_rng(0))
    assert (codec.encode(drawn, None) == codec.encode(values, None)).mean() > 0.99


def test_dead_held_and_repeated_elements_have_no_slot():
    rng = np.random.default_rng(0)
    moving = walk(3000, 2)
    goal = np.repeat(rng.standard_normal((3, 1)), 1000, axis=0)
    last = np.concatenate([moving[:1, :1], moving[:-1, :1]])
    values = np.concatenate([moving, np.full((3000, 1), 7.0), goal, moving[:, 1:], last], axis=1)
    old = np.concatenate([np.full((1, 6), np.nan), values[:-1]])
    old[::1000] = np.nan
    names = ("x", "y", "dead", "goal", "y again", "x before")
    later = ~np.isnan(old).any(axis=1)
    codec = VectorCodec.fit(values, old, spec(6, names=names), first=False)
    assert codec.elements.constant == {2: 7.0}
    assert codec.elements.repeat == {3: ("before", 3), 4: ("now", 1), 5: ("before", 0)}
    assert len(codec.slots) == 2
    back = codec.decode(codec.encode(values[later], old[later]), old[later])
    assert (back[:, 2:4] == values[later, 2:4]).all()
    assert (back[:, 4] == back[:, 1]).all() and (back[:, 5] == old[later, 0]).all()
    assert codec.check(values[later], old[later]) == []
    first = VectorCodec.fit(values, None, spec(6, names=names), first=True)
    assert 3 in first.elements.live and first.elements.repeat == {4: ("now", 1)}
    again = saved(codec)
    assert again.elements.repeat == codec.elements.repeat


def test_chance_makes_no_repetition():
    values = np.random.default_rng(0).integers(0, 2, (400, 1)).astype(np.float64)
    codec = fitted(np.concatenate([values, values], axis=1), first=True)
    assert len(codec.slots) == 2


def test_check_names_what_moved_or_left_its_range():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(-1, 1, (500, 1)), np.full((500, 1), 3.0)], axis=1)
    codec = VectorCodec.fit(values, None, spec(2, names=("x", "lamp")), first=True)
    assert codec.check(values, None) == []
    odd = np.array([[0.5, 3.0], [5.0, 3.0], [0.0, 4.0]])
    found = dict(codec.check(odd, None))
    assert found["x"].startswith("is 5.0 in row 1, outside the -0.9")
    assert found["lamp"] == "was always 3.0 and is 4.0 in row 2 (1 of 3 samples)"
    assert codec.overflow(odd, None).tolist() == [1 / 3, 0.0]
    assert codec.decode(codec.encode(odd, None), None)[1, 0] == pytest.approx(1.0, abs=0.02)
    assert codec.log_width(codec.encode(odd, None))[1] == np.inf
    assert codec.cell(odd, None)[1][1, 0] == np.inf


def test_what_is_not_finite_is_named_and_shown_as_missing():
    codec = VectorCodec.fit(walk(500, 2), None, spec(2, names=("x", "y")), first=True)
    bad = np.array([[0.0, 0.0], [0.0, np.nan]])
    with pytest.raises(TokenError, match="'y' is nan in row 1"):
        codec.encode(bad, None)
    assert codec.check(bad, None) == [("y", "is nan in row 1, which it never was")]
    shown = codec.describe(bad, None)
    assert shown[:, 2:].tolist() == [[0, 0], [0, 1]] and shown[1, 1] == 0
    later = fitted(walk(500, 2))
    with pytest.raises(TokenError, match="in the sample before row 0"):
        later.encode(np.zeros((1, 2)), np.full((1, 2), np.nan))
    with pytest.raises(TokenError, match="there is none"):
        later.encode(np.zeros((1, 2)), None)


def test_nan_that_was_recorded_has_a_token():
    values = walk(500, 2)
    values[::5, 1] = np.nan
    values[1::50, 1] = np.inf
    codec = fitted(values)
    assert not codec.codings[1].difference
    old = before(values)
    back = codec.decode(codec.encode(values[1:], old[1:]), old[1:])
    assert (np.isnan(back) == np.isnan(values[1:])).all()
    assert (np.isinf(back) == np.isinf(values[1:])).all()
    assert codec.check(values[1:], old[1:]) == []
    with pytest.raises(TokenError, match=r"'1' is -inf"):
        codec.encode(np.array([[0.0, -np.inf]]), np.zeros((1, 2)))


def test_a_second_token_divides_coarse_cells_only():
    values = np.concatenate(
        [np.random.default_rng(0).standard_normal((20000, 1)), walk(20000, 1)], axis=1
    )
    plain, finer = (fitted(values, bins=32, fine=fine) for fine in (0, 16))
    assert (plain.slots, finer.slots) == ((32, 32), (32, 16, 32))
    old = before(values)[1:]
    errors = [
        np.abs(codec.decode(codec.encode(values[1:], old), old) - values[1:]).mean(0)
        for codec in (plain, finer)
    ]
    assert errors[1][0] < errors[0][0] / 8 and errors[1][1] == errors[0][1]
    low, high = finer.cell(values[1:], old)
    inside = np.isfinite(low) & np.isfinite(high)
    assert ((low <= values[1:]) & (values[1:] < high))[inside & (low < high)].all()
    widths = np.log(high - low).sum(axis=1)
    held = inside.all(axis=1) & (low < high).all(axis=1)
    assert finer.log_width(finer.encode(values[1:], old))[held] == pytest.approx(widths[held])
    again = saved(finer)
    assert (again.encode(values[1:], old) == finer.encode(values[1:], old)).all()


def test_drawing_from_bins_adds_little_spread():
    """A conditional narrower than all that was seen, wherever it lies."""
    rng = np.random.default_rng(0)
    codec = fitted(rng.standard_normal((20000, 1)), first=True, bins=24)
    ratios = []
    for middle in (-2.5, -2.0, -1.0, 0.0, 1.0, 2.0, 2.5):
        x = rng.normal(middle, 0.4, (20000, 1))
        tokens = codec.encode(x, None)
        drawn = codec.decode(tokens, None, rng=rng)
        ratios.append(drawn.std() / x.std())
        inside = np.isfinite(codec.log_width(tokens))
        assert (codec.encode(drawn, None)[inside] == tokens[inside]).all()
        one, other = (
            each.decode(tokens, None, rng=np.random.default_rng(1))
            for each in (codec, saved(codec))
        )
        assert (one == other).all()
    assert np.min(ratios) > 0.95 and np.max(ratios) < 1.3 and np.mean(ratios) < 1.15


def test_a_far_outlier_takes_few_bins():
    values = np.random.default_rng(0).standard_normal((20000, 1))
    values[7] = 1e9
    bins = fitted(values, first=True, bins=64).codings[0].bins
    assert (np.abs(bins.edges) < 10).sum() > 58
    drawn = bins.value(np.repeat(bins.token[: bins.size - 2], 8), None, np.random.default_rng(0))
    assert np.isfinite(drawn).all()


def test_tokens_grow_with_the_numbers():
    codec = fitted(np.random.default_rng(0).standard_normal((5000, 1)).round(1), first=True)
    x = np.linspace(-9, 9, 1000)[:, None]
    assert (np.diff(codec.encode(x, None)[:, 0]) >= 0).all()
    assert (np.diff(codec.codings[0].bins.points) > 0).all()


def test_a_token_or_a_sample_that_cannot_be():
    codec = fitted(walk(500, 2), first=True)
    with pytest.raises(TokenError, match="token 999 in row 1, slot 0"):
        codec.decode(np.array([[0, 0], [999, 0]]), None)
    with pytest.raises(TokenError, match="2 slots"):
        codec.decode(np.zeros((1, 3), int), None)
    with pytest.raises(TokenError, match=r"shape \[3\]"):
        codec.encode(np.zeros((1, 3)), None)
    with pytest.raises(TokenError, match="no samples"):
        VectorCodec.fit(np.empty((0, 2)), None, spec(2), first=True)
    with pytest.raises(TokenError, match="at least 16"):
        fitted(walk(9, 2), first=True, bins=3)


def test_features_are_about_unit_scale_and_limited():
    values = walk(3000, 2) * 1e6
    codec = fitted(values)
    shown = codec.describe(values, before(values))
    assert shown.shape == (3000, 6) and shown.dtype == np.float32
    assert 0.3 < shown[:, :2].std() < 3 and 0.3 < shown[:, 2:4].std() < 3
    assert (shown[0, 2:4] == 0).all()
    assert np.abs(codec.describe(values * 1e9, before(values))).max() == 10
    assert (saved(codec).describe(values, before(values)) == shown).all()


def columns(dtype):
    kind = np.dtype(dtype)
    if kind.kind == "f":
        width = kind.itemsize * 8
        elements = st.one_of(
            st.floats(allow_nan=False, allow_infinity=False, width=width),
            st.sampled_from([0.0, 1.0, -1.0]),
            st.floats(-2, 2, width=width),
        )
    else:
        limits = np.iinfo(kind)
        elements = st.integers(int(limits.min), int(limits.max)) | st.integers(0, 20)
    shape = st.tuples(st.integers(1, 60), st.integers(1, 3))
    return some.arrays(dtype, shape, elements=elements)


@given(data=st.data(), dtype=st.sampled_from((*FLOATS, *INTS)), bins=st.integers(16, 40))
def test_by_value_all_finite_input_has_a_token_and_comes_back_alike(data, dtype, bins):
    values = data.draw(columns(dtype))
    codec = fitted(values, first=True, bins=bins)
    other = data.draw(columns(dtype))
    assume(other.shape[1] == values.shape[1])
    for each in (values, other):
        tokens = codec.encode(each, None)
        assert (tokens >= 0).all() and (tokens < np.array(codec.slots, int)).all()
        back = codec.decode(tokens, None)
        assert back.dtype == each.dtype and np.isfinite(back.astype(float)).all()
        again = codec.encode(back, None)
        assert (codec.decode(again, None) == back).all()
        low, high = codec.cell(each, None)
        live = list(codec.elements.live)
        x = each.astype(np.float64)
        if np.dtype(dtype).itemsize < 8 or np.dtype(dtype).kind == "f":
            assert (low[:, live] <= x[:, live]).all() and (x[:, live] <= high[:, live]).all()
    assert codec.overflow(values, None).tolist() == [0.0] * values.shape[1]
    assert max(codec.slots, default=0) <= bins
    copy = saved(codec)
    assert (copy.encode(other, None) == codec.encode(other, None)).all()
    assert (copy.decode(tokens, None) == codec.decode(tokens, None)).all()


@given(
    data=st.data(), dtype=st.sampled_from((*FLOATS, "int32", "uint8")), fine=st.sampled_from((0, 4))
)
def test_with_the_sample_before_decoding_is_idempotent(data, dtype, fine):
    width = np.dtype(dtype).itemsize * 8
    elements = (
        st.floats(-100, 100, width=width) | st.sampled_from([0.0, 0.5])
        if np.dtype(dtype).kind == "f" else st.integers(0, 200)
    )  # fmt: skip
    values = data.draw(some.arrays(dtype, st.tuples(st.integers(2, 60), st.integers(1, 3)),
                                   elements=elements))  # fmt: skip
    codec = fitted(values, bins=24, fine=fine)
    old = values[:-1]
    tokens = codec.encode(values[1:], old)
    back = codec.decode(tokens, old)
    assert (codec.decode(codec.encode(back, old), old) == back).all()
    low, high = codec.cell(values[1:], old)
    slack = 1e-4 if dtype == "float32" else 1e-9
    assert ((low - slack <= back) & (back <= high + slack)).all()
    assert (codec.decode(tokens, old) == saved(codec).decode(tokens, old)).all()


@given(data=st.data(), dtype=st.sampled_from(FLOATS), difference=st.booleans())
def test_cells_cover_the_line_once(data, dtype, difference):
    from scipy.stats import norm

    values = data.draw(columns(dtype))[:, :1]
    codec = fitted(values, bins=20, first=not difference)
    assume(codec.codings)
    bins = codec.codings[0].bins
    mass = norm.cdf(bins.high) - norm.cdf(bins.low)
    assert mass.sum() == pytest.approx(1)
    x = data.draw(some.arrays(np.float64, 50, elements=st.floats(-1e3, 1e3)))
    token = np.where(bins.atom(x) >= 0, bins.atom(x), bins.bin(x))
    assert ((bins.low[token] <= x) & (x <= bins.high[token])).all()


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_the_greatest_integers_have_a_token_that_stays_theirs(dtype):
    values = np.array([[np.iinfo(dtype).max - 100], [0]], dtype)
    codec = fitted(values, first=True, bins=16)
    back = codec.decode(codec.encode(values, None), None)
    assert (codec.decode(codec.encode(back, None), None) == back).all()

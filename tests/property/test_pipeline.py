"""The way back is right by construction, and everything in a bundle's card survives JSON."""

import json
import string

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import input_takes, target_takes

from viae.model import Bound, Pipeline, Pixels, Relative, Standardise, TaskOneHot
from viae.schema import Batch, Kind, Role, StreamSpec, WindowSpec

DIMS = 3
SMALL = st.floats(-100, 100, width=32)
DTYPES = st.sampled_from(["float64", "float32", "uint8", "int16"])


@st.composite
def pipelines(draw):
    """As training makes them: bounds over the recorded targets, relative or not."""
    dtype = np.dtype(draw(DTYPES))
    elements = SMALL if dtype.kind == "f" else st.integers(0, 100)
    n = draw(st.integers(1, 4))
    state = draw(hnp.arrays(dtype, (n, 2, DIMS), elements=elements))
    target = draw(hnp.arrays(dtype, (n, 4, DIMS), elements=elements))
    batch = Batch(
        inputs={"q": state}, targets={"a": target}, tasks=("t",) * n,
        masks={"inputs/q": np.ones((n, 2), bool), "targets/a": np.ones((n, 4), bool)},
        episodes=np.zeros(n, np.int64), decisions_ns=np.zeros(n, np.int64),
    )  # fmt: skip

    def numbers(low, high):
        return tuple(draw(st.lists(st.floats(low, high), min_size=DIMS, max_size=DIMS)))

    flat = target.reshape(-1, DIMS).astype(float)
    transforms = [
        TaskOneHot(("s", "t")),
        Bound("targets/a", tuple(flat.min(0).tolist()), tuple(flat.max(0).tolist())),
        Standardise("targets/a", numbers(-10, 10), numbers(0.1, 10)),
        Standardise("inputs/q", numbers(-10, 10), numbers(0.1, 10), limit=5.0),
    ]
    if draw(st.booleans()):
        transforms.insert(2, Relative("targets/a", "inputs/q"))
    return Pipeline(tuple(transforms)), batch


@given(pipelines())
def test_inverse_after_forward_is_the_identity(made):
    pipeline, batch = made
    flat = pipeline.forward(batch)
    assert flat["targets/a"].dtype == np.float32
    back = pipeline.inverse({"targets/a": flat["targets/a"]}, batch)
    assert set(back) == {"targets/a"}
    # The network speaks float32 of standardised numbers; std is at most 10, numbers at most 2000.
    np.testing.assert_allclose(back["targets/a"], batch.targets["a"], rtol=0, atol=2e-3)


@given(pipelines())
def test_transforms_leave_their_inputs_alone_and_limit_what_they_show(made):
    pipeline, batch = made
    before = {k: v.copy() for k, v in {**batch.inputs, **batch.targets}.items()}
    flat = pipeline.forward(batch)
    after = {**batch.inputs, **batch.targets}
    assert all((after[key] == before[key]).all() for key in before)
    assert np.abs(flat["inputs/q"]).max() <= 5
    assert (flat["inputs/task"] == [0, 1]).all()


@given(pipelines(), hnp.arrays(np.float32, (4, DIMS), elements=st.floats(-1e6, 1e6, width=32)))
def test_nothing_leaves_the_range_of_the_demonstrations(made, said):
    pipeline, batch = made
    back = pipeline.inverse({"targets/a": np.stack([said] * len(batch))}, batch)["targets/a"]
    flat = batch.targets["a"].reshape(-1, DIMS)
    assert (back >= flat.min(0)).all()
    assert (back <= flat.max(0)).all()


FLOATS = st.floats(allow_nan=False)
NUMBERS = st.lists(FLOATS, max_size=4).map(tuple)
KEYS = st.text(min_size=1)
TRANSFORMS = st.one_of(
    st.builds(Relative, KEYS, KEYS),
    st.builds(Standardise, KEYS, NUMBERS, NUMBERS, FLOATS),
    st.builds(Bound, KEYS, NUMBERS, NUMBERS),
    st.builds(Pixels, KEYS),
    st.builds(TaskOneHot, st.lists(st.text(), max_size=3).map(tuple)),
)


@given(st.lists(TRANSFORMS, max_size=5))
def test_pipelines_survive_json(transforms):
    pipeline = Pipeline(tuple(transforms))
    assert Pipeline.from_json(json.loads(json.dumps(pipeline.to_json()))) == pipeline


@given(input_takes(), target_takes(), st.sampled_from(["pad", "skip"]), st.text(min_size=1))
def test_window_specs_survive_json(shown, asked, missing, decision):
    spec = WindowSpec(decision=decision, inputs=(shown,), targets=(asked,), missing=missing)
    for record in (shown, asked, spec):
        assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


@st.composite
def stream_specs(draw):
    kind = draw(st.sampled_from(Kind))
    dtype, shape = "", ()
    if kind not in (Kind.TEXT, Kind.BYTES):
        dtype = draw(st.sampled_from(["float32", "uint64", "bool", "<f8"]))
        sizes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
        shape = draw(st.just((-1,)) | sizes)
    size = int(np.prod(shape)) if -1 not in shape else 2
    names = st.just(()) | st.lists(st.text(), min_size=size, max_size=size).map(tuple)
    text = st.text(string.printable + "é漢", max_size=4)
    return StreamSpec(
        name=draw(st.text(min_size=1)), kind=kind, dtype=dtype, shape=shape,
        names=draw(names) if dtype else (), role=draw(st.sampled_from(Role)), unit=draw(text),
        clock=draw(st.text(min_size=1)), topic=draw(text), encoding=draw(text),
    )  # fmt: skip


@given(stream_specs())
@settings(max_examples=100)
def test_stream_specs_survive_json(spec):
    assert StreamSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec

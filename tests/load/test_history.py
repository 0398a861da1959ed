"""What a policy is shown while it acts."""

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE
from viae.errors import WindowError
from viae.load import History
from viae.schema import Take, WindowSpec

SPEC = WindowSpec(
    decision=STATE.name,
    inputs=(Take(stream=STATE.name, steps=(-1, 0)), Take(stream=CAMERA.name, steps=(0,))),
)


def test_a_robot_without_the_streams_is_refused():
    with pytest.raises(WindowError) as caught:
        History(SPEC, [STATE, ACTION], task="t")
    assert str(caught.value) == (
        "the window needs ['camera']; this robot has ['action', 'observation.state']"
    )


def test_what_has_not_arrived_is_padded():
    history = History(SPEC, [STATE, CAMERA], task="t", picture_sizes={"camera": (4, 6)})
    history.add(STATE.name, [1.0, 2.0], capture_ns=5, arrival_ns=5)
    batch = history.window(5)
    assert batch.inputs[STATE.name].tolist() == [[[0, 0], [1, 2]]]
    assert batch.masks[f"inputs/{STATE.name}"].tolist() == [[False, True]]
    assert batch.inputs["camera"].shape == (1, 1, 3, 4, 6)
    assert batch.inputs["camera"].dtype == np.uint8
    assert batch.masks["inputs/camera"].tolist() == [[False]]
    assert (batch.tasks, batch.targets, batch.decisions_ns.tolist()) == (("t",), {}, [5])


def test_samples_of_other_streams_are_ignored_and_later_ones_unseen():
    history = History(SPEC, [STATE, CAMERA], task="t")
    history.add("gossip", object(), capture_ns=1, arrival_ns=1)
    history.add(STATE.name, [1.0, 2.0], capture_ns=5, arrival_ns=5)
    history.add(STATE.name, [3.0, 4.0], capture_ns=6, arrival_ns=6)
    assert history.window(5).inputs[STATE.name].tolist() == [[[0, 0], [1, 2]]]
    assert history.window(6).inputs[STATE.name].tolist() == [[[1, 2], [3, 4]]]


def test_ages_come_with_the_inputs_that_ask_for_them():
    take = Take(stream=STATE.name, steps=(-1, 0), age=True)
    history = History(WindowSpec(decision=STATE.name, inputs=(take,)), [STATE], task="t")
    history.add(STATE.name, [1.0, 2.0], capture_ns=500_000_000, arrival_ns=600_000_000)
    assert history.window(2_000_000_000).ages[STATE.name].tolist() == [[0, 1.5]]

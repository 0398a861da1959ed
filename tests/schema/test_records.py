"""Episodes, facts, losses and times."""

import pytest

from builders import episode
from viae.errors import SchemaError
from viae.schema import Fact, Loss, LossKind, to_ns, to_s


def fact(**fields):
    given = {"episode_id": "e", "key": "label", "value": 1, "author": "me", "time_ns": 5}
    return Fact(**given | fields)


def test_an_episode_does_not_end_before_it_starts():
    with pytest.raises(SchemaError) as caught:
        episode("e", start_ns=2, end_ns=1)
    assert str(caught.value) == "episode e: ends at 1 before it starts at 2"


def test_a_fact_needs_a_key():
    with pytest.raises(SchemaError, match="episode e: a fact needs a key"):
        fact(key="")


@pytest.mark.parametrize("span", [{"start_ns": 0}, {"end_ns": 0}])
def test_half_a_span_is_refused(span):
    with pytest.raises(SchemaError, match="fact 'label' has half a span"):
        fact(**span)


def test_a_fact_is_identified_by_everything_it_says():
    assert fact().fact_id == fact().fact_id
    others = [
        fact(value=2), fact(key="l"), fact(author="you"), fact(time_ns=6), fact(episode_id="f"),
        fact(start_ns=0, end_ns=1), fact(other_episode_id="f"), fact(value=True), fact(value="1"),
    ]  # fmt: skip
    assert len({fact().fact_id, *(other.fact_id for other in others)}) == len(others) + 1


def test_a_loss_is_json_ready():
    loss = Loss(kind=LossKind.LOST, name="truncated", path="p", detail="d", count=3)
    assert loss.to_json() == {
        "kind": "lost", "name": "truncated", "path": "p", "stream": "", "count": 3, "at_ns": None,
        "detail": "d",
    }  # fmt: skip


def test_seconds_round_to_the_nearest_nanosecond():
    assert to_ns(0.1) == 100_000_000
    assert to_ns(-1e-9 * 0.6) == -1
    assert to_s(1_500_000_000) == 1.5

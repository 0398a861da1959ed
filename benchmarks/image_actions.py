"""What few tokens a picture do to the next action: bits of a model of ours ÷ of the dense grid's.

``image_actions_SET``        bits of an action, ours ÷ dense, after equal compute
``image_actions_SET_ours`` ``image_actions_SET_dense``   bits an action of each

**Data** are the two sets of ``image_tokens.py``, its episodes held out and its tokenizers of 8
pixels, which it shares a folder with. A step has a picture, the state and an action.

**Models.** Two of one recipe on the same events: in one, pictures after an episode's first are said
as what has changed (`PictureCodec`), in the other all codes of every picture (`GridCodec`). Both
are *shown* a picture as the latents of all its patches, of what their own codes say; an event is
one place of the trunk either way. What tokens cost is the depth decoder that says them.

**Equal compute.** Seconds of a core for an update are measured for each on a few updates; each then
has as many updates as `SECONDS` hold. Reading logs and coding pictures are done once, before, and
do not count; they are told beside it. Nothing is chosen by how it comes out: the weights are the
averaged ones of the last update.

**Counted** are the bits of what actions say, each given all before it that its window shows; not
which event comes next, nor when. The tokens of actions are the same for both; that is checked.

``python benchmarks/image_actions.py --json [--work FOLDER]``
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from driver import main
from image_tokens import PATCHES, Set, g1, pusht, trained
from rows import Row
from viae.foresee.likelihood import PARTS, score, states_after
from viae.load.events import EventReader
from viae.model import BaseBundle
from viae.model.tokens.codec import Codec
from viae.model.tokens.vocabulary import Encoded
from viae.schema import Episode
from viae.train.base import BaseRecipe, Source, train_base
from viae.train.loop import LoopConfig, Point
from viae.verbs.choose import fitting

Doubles = npt.NDArray[np.float64]

SECONDS = 60.0
"""Of a core, for the updates of each model."""
TRIED = 60
"""Updates that are timed beforehand, on one episode."""
STATE, ACTION = "observation.state", "action"
DRAWS = 2000
FEW = 5
"""With fewer episodes, an interval is from the least to the greatest."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a training took.

    Args:
        updates: done.
        each: seconds of a core for an update, the first few left out.
        total: seconds of a core for all, reading logs and coding pictures among it.
    """

    updates: int
    each: float
    total: float


def recipe(data: Set, steps: int) -> BaseRecipe:
    """Of all models here."""
    return BaseRecipe(
        streams=(data.stream, STATE, ACTION), length=64, batch_size=8, bins=128, chunk=1,
        moments=0, hide_actions=0.0, held_out_share=0.0,
        width=128, depth=2, heads=4, depth_width=64, depth_layers=2, dropout=0.1, bf16=False,
        share={"": 0.1},
        loop=LoopConfig(
            steps=steps, lr=2e-3, warmup=50, weight_decay=0.05, ema=0.99,
            check_every=max(1, steps // 6), patience=0,
        ),
    )  # fmt: skip


def learnt(
    data: Set, episodes: Sequence[Episode], codec: Codec, steps: int, work: Path
) -> tuple[BaseBundle, Training]:
    """A model, and what it took."""
    began = time.process_time()
    points: list[tuple[int, float]] = []

    def note(point: Point) -> None:
        points.append((point.step, time.process_time()))

    bundle = train_base(
        [Source(store=data.store, episodes=tuple(episodes))], recipe(data, steps),
        work=work, pictures={data.stream: codec}, progress=note,
    )  # fmt: skip
    total = time.process_time() - began
    (first, since), (last, until) = points[0], points[-1]
    return bundle, Training(updates=last, each=(until - since) / (last - first), total=total)


def models(
    data: Set, episodes: Sequence[Episode], codecs: Mapping[str, Codec], work: Path
) -> dict[str, tuple[BaseBundle, Training]]:
    """Models of equal compute, by how pictures are coded; each is trained once."""
    found = {}
    steps: dict[str, int] = {}
    for name, codec in codecs.items():
        if not (work / f"{name}.json").exists():
            _, tried = learnt(data, episodes[:1], codec, TRIED, work / f"{name}-tried")
            steps[name] = round(SECONDS / tried.each)
    for name, codec in codecs.items():
        folder, spent = work / name, work / f"{name}.json"
        if name in steps:
            bundle, took = learnt(data, episodes, codec, steps[name], work / f"{name}-training")
            bundle.save(folder)
            spent.write_text(json.dumps(asdict(took)))
        found[name] = BaseBundle.load(folder), Training(**json.loads(spent.read_text()))
    return found


def action_bits(bundle: BaseBundle, encoded: Encoded) -> float:
    """Of what the actions of an episode say, as `viae.foresee.likelihood.bits` counts them."""
    actions = np.flatnonzero(encoded.action)
    content = PARTS.index("content")
    return sum(
        float(score(bundle, encoded, counts, state_PD)[:, content].sum())
        for counts, state_PD in states_after(bundle, encoded, actions)
    )


def action_tokens(bundle: BaseBundle, encoded: Sequence[Encoded]) -> list[bytes]:
    """How actions are coded, and all their tokens: equal for models that can be compared."""
    vocabulary, found = bundle.vocabulary, []
    for first in (True, False):
        number = vocabulary.type_of(ACTION, first=first)
        kind = vocabulary.types[number]
        found += [json.dumps(kind.content.to_json()).encode()]
        found += [each.tokens[number][:, kind.times :].tobytes() for each in encoded]
    return found


def measure(name: str, work: Path) -> Iterator[Row]:
    """Train and measure one set; every episode's bits are left in the folder."""
    data = {"g1": g1, "pusht": pusht}[name](work)
    ours = trained(data, work, PATCHES[0]).codec
    episodes = fitting(data.store, data.learnt)
    found = models(data, episodes, {"ours": ours, "dense": ours.first}, work / "actions")
    seen = {episode.episode_id for episode in episodes}
    held = [e for e in data.store.episodes() if e.episode_id not in seen]
    reader = EventReader(
        data.store, held, streams=(data.stream, STATE, ACTION),
        picture_sizes={data.stream: data.size}, names=found["ours"][0].names,
    )  # fmt: skip
    bits_E: dict[str, Doubles] = {}
    tokens, told = [], []
    for coding, (bundle, took) in found.items():
        encoded = [bundle.vocabulary.encode(reader.events(i)) for i in range(len(held))]
        tokens.append(action_tokens(bundle, encoded))
        bits_E[coding] = np.array([action_bits(bundle, each) for each in encoded])
        steps_E = np.array([each.action.sum() for each in encoded], np.float64)
        low, high = interval(bits_E[coding], steps_E)
        told.append(
            Row(
                name=f"image_actions_{name}_{coding}", value=bits_E[coding].sum() / steps_E.sum(),
                unit="bits/step", n=len(held), low=low, high=high,
                peer=f"{took.updates} updates, {took.updates * took.each:.1f} s of a core; "
                f"{took.total:.0f} s with reading and coding",
            )
        )  # fmt: skip
    if tokens[0] != tokens[1]:
        raise SystemExit(f"{name}: the tokens of actions differ: bits cannot be compared")
    kept = {coding: own.tolist() for coding, own in bits_E.items()} | {"steps": steps_E.tolist()}
    (work / "actions" / "measured.json").write_text(json.dumps(kept, indent=1))
    low, high = interval(bits_E["ours"], bits_E["dense"])
    how = "least to greatest" if len(held) < FEW else "95%"
    yield Row(
        name=f"image_actions_{name}", value=bits_E["ours"].sum() / bits_E["dense"].sum(),
        unit="ratio", target="<= 1", n=len(held), low=low, high=high,
        peer=f"dense grid, equal compute: {told[0].value:.2f} against {told[1].value:.2f} bits an "
        f"action; low, high: {how} of {len(held)} held-out episodes, {steps_E.sum():.0f} actions",
    )  # fmt: skip
    yield from told


def interval(a_E: Doubles, b_E: Doubles) -> tuple[float, float]:
    """95% of the ratio of sums, episodes drawn again; of few, the least and the greatest."""
    ratios = a_E / b_E
    if len(a_E) >= FEW:
        drawn = np.random.default_rng(0).integers(0, len(a_E), (DRAWS, len(a_E)))
        ratios = np.quantile(a_E[drawn].sum(1) / b_E[drawn].sum(1), (0.025, 0.975))
    return float(ratios.min()), float(ratios.max())


def image_actions(work: Path) -> Iterator[Row]:
    """Both sets, then the larger of the two ratios."""
    torch.set_num_threads(1)
    ratios = []
    for name in ("g1", "pusht"):
        for number, row in enumerate(measure(name, work / name)):
            ratios += [row] if number == 0 else []
            yield row
    worst = max(ratios, key=lambda row: row.value)
    yield replace(worst, name="image_actions", peer=f"the larger of both, {worst.name}")


if __name__ == "__main__":
    main(
        {"image_actions": image_actions}, description=__doc__,
        need_data=frozenset({"image_actions"}), folders={"image_actions": "image_tokens"},
    )  # fmt: skip

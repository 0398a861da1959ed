"""Windows of many episodes: which samples each one has, and batches of them.

Times decide which samples a window has, before any value is read; vectors are kept in memory;
pictures are got at by the path that `viae.load.paths` chooses. Every path gives the batches of
`viae.load.reference`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.errors import WindowError
from viae.load.access import Access, Frames
from viae.load.buffers import Buffers
from viae.load.choose import Choice
from viae.load.frames import OnDemand
from viae.load.index import PICTURES, Index, cut
from viae.load.paths import open_frames
from viae.load.timelines import StreamRows, read_timelines
from viae.load.vectors import read_vectors
from viae.schema import Batch, Episode, StreamSpec, WindowSpec
from viae.sequence import Order, Shuffled
from viae.store import Store
from viae.video import AS_RECORDED, PictureView

PictureSize: TypeAlias = tuple[int, int]
Ints = npt.NDArray[np.int64]


class Windows:
    """Every window of a spec over some episodes. Safe for use by several threads at once.

    Args:
        store: at the snapshot to read.
        spec: what a window is.
        episodes: in this order; their indices are those in `Batch.episodes`.
        picture_sizes: how pictures are looked at, per stream: (height, width), or a `PictureView`;
            others keep their recorded size.
        access: what loading pictures may use.

    Raises:
        WindowError: no episode has the decision stream, a stream differs in shape or unit between
            episodes or is text, or a size or crop fits no picture stream of the windows.
    """

    def __init__(
        self,
        store: Store,
        spec: WindowSpec,
        episodes: Sequence[Episode],
        *,
        picture_sizes: Mapping[str, PictureSize | PictureView] | None = None,
        access: Access | None = None,
    ) -> None:
        self.store = store.at(store.snapshot())
        self.spec = spec
        self.episodes = tuple(episodes)
        self.views = {
            name: view if isinstance(view, PictureView) else PictureView((view[0], view[1]))
            for name, view in (picture_sizes or {}).items()
        }
        ids = [episode.episode_id for episode in episodes]
        self.streams: Mapping[str, StreamRows] = read_timelines(
            self.store, ids, spec.streams,
            scaled={name for name, view in self.views.items() if view.size},
        )  # fmt: skip
        """Times and rows of each stream the windows read."""
        self.index: Index = cut(self.store, spec, ids, self.streams)
        """Which samples each window has."""
        taken = [stream for name, stream in self.streams.items() if name in _taken(spec)]
        self._values = read_vectors(
            self.store, ids, {s.spec.name: s for s in taken if s.spec.kind not in PICTURES}
        )
        pictures = [s for s in taken if s.spec.kind in PICTURES]
        _check_views(self.views, {s.spec.name: s.spec for s in pictures})
        opened = open_frames(
            self.store,
            [(s, self.views.get(s.spec.name, AS_RECORDED)) for s in pictures],
            ids,
            access or Access(),
            self.index,
        )
        self.frames: Mapping[str, Frames] = opened.frames
        """Frames of each picture stream, by the access path chosen."""
        self.choice: Choice = opened.choice
        """That path, and why."""
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def episode_of(self) -> Ints:
        """int64 [W], index into `episodes`."""
        return self.index.episode_of

    @property
    def decisions_ns(self) -> Ints:
        """int64 [W], log clock."""
        return self.index.decisions_ns

    @property
    def skipped(self) -> int:
        """Windows left out because they lacked an input (``missing="skip"``) or every target."""
        return self.index.skipped

    @property
    def undecided(self) -> int:
        """Episodes left out because they lack the decision stream."""
        return self.index.undecided

    def order(self, seed: int) -> Order:
        """Each window once per epoch, shuffled as the access path wants it.

        That is at random, unless windows come out of a pool.

        Args:
            seed: of the order.
        """
        pool = self.choice.pool
        return Shuffled(len(self), seed) if pool is None else pool.order(seed)

    def stream_spec(self, stream: str) -> StreamSpec:
        """The spec of a stream, as its first episode has it."""
        return self.streams[stream].spec

    def values(self, stream: str) -> npt.NDArray[Any]:
        """All samples of a stream, episode after episode: [N, *shape]; pictures are decoded."""
        if stream not in self.frames:
            return self._values[stream]
        frames = self.frames[stream]
        out = np.empty((len(frames), *frames.shape), np.uint8)
        frames.read(np.arange(len(frames)), out)
        return out

    def sample_indices(self, key: str) -> Ints:
        """Which samples the windows have, by their position in their own episode's stream.

        Args:
            key: ``"inputs/STREAM"`` or ``"targets/STREAM"``.

        Returns:
            int64 [W, T]; -1 where padded.
        """
        stream = self.streams[key.split("/", 1)[1]]
        found = self.index.samples[key].astype(np.int64)
        return np.where(found >= 0, found - stream.starts[self.episode_of][:, None], -1)

    def batch(self, which: Ints) -> Batch:
        """Windows by number.

        Args:
            which: int64 [B], each in [0, len(self)).

        Returns:
            The batch; its memory is not used again while any array, view or tensor of it is held.
        """
        inputs: dict[str, npt.NDArray[Any]] = {}
        targets: dict[str, npt.NDArray[Any]] = {}
        masks: dict[str, npt.NDArray[np.bool_]] = {}
        for key, samples in self.index.samples.items():
            group, stream = key.split("/", 1)
            chosen = samples[which].astype(np.int64)
            masks[key] = chosen >= 0
            (inputs if group == "inputs" else targets)[stream] = self._read(stream, chosen)
        episodes = self.index.episode_of[which]
        return Batch(
            inputs=inputs,
            targets=targets,
            masks=masks,
            tasks=tuple(self.episodes[i].task for i in episodes.tolist()),
            episodes=episodes,
            decisions_ns=self.index.decisions_ns[which],
            ages={stream: ages[which] for stream, ages in self.index.ages.items()},
        )

    def reserve(self, size: int, count: int) -> None:
        """Take the memory of pictures for so many batches at a time.

        Args:
            size: windows of a batch.
            count: batches.
        """
        for key, samples in self.index.samples.items():
            frames = self.frames.get(key.split("/", 1)[1])
            if frames is not None:
                shape = (min(size, len(self)), samples.shape[1], *frames.shape)
                self._buffers.reserve(shape, np.uint8, count)

    def ahead(self, which: Ints) -> None:
        """The batch of these windows will be asked for soon: begin to read what it needs.

        Only pictures decoded on demand, out of packets that are not in memory, take time to read.

        Args:
            which: int64 [B], as for `batch`.
        """
        for key, samples in self.index.samples.items():
            frames = self.frames.get(key.split("/", 1)[1])
            if isinstance(frames, OnDemand):
                frames.ahead(samples[which].astype(np.int64).reshape(-1))

    def _read(self, stream: str, chosen: Ints) -> npt.NDArray[Any]:
        """Values [B, T, *shape] of samples [B, T]; zeros where -1."""
        if stream in self.frames:
            frames = self.frames[stream]
            out = self._buffers.take((*chosen.shape, *frames.shape), np.uint8)
            frames.read(chosen.reshape(-1), out.reshape(-1, *frames.shape))
            return out
        values = self._values[stream]
        if not len(values):
            return np.zeros((*chosen.shape, *values.shape[1:]), values.dtype)
        found = np.take(values, chosen, axis=0, mode="clip")
        found[chosen < 0] = 0
        return found


def _taken(spec: WindowSpec) -> set[str]:
    """Streams whose values enter a window."""
    return {take.stream for take in (*spec.inputs, *spec.targets)}


def _check_views(views: Mapping[str, PictureView], pictures: Mapping[str, StreamSpec]) -> None:
    """Refuse what would do nothing, as under a misspelt name, or what fails at every picture."""
    if unknown := sorted(set(views) - set(pictures)):
        raise WindowError(
            f"a size or crop is given for {', '.join(map(repr, unknown))}; the pictures that the "
            f"windows take are {', '.join(map(repr, sorted(pictures))) or 'none'}"
        )
    for name, view in views.items():
        (height, width), (top, left, high, wide) = pictures[name].shape[:2], view.crop or (0,) * 4
        if top + high > height > 0 or left + wide > width > 0:
            raise WindowError(
                f"stream '{name}': a crop of {high}x{wide} at ({top}, {left}) does not fit into "
                f"its pictures of {height}x{width}"
            )

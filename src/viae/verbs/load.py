"""Load plan: which access path the windows of a spec take, what to expect, and what it achieves."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.load.access import Access
from viae.load.spec import LoadSpec
from viae.store import Store
from viae.verbs.choose import all_of, chosen
from viae.verbs.progress import Progress, Tell, quiet

if TYPE_CHECKING:
    from viae.load.loader import Loader
    from viae.load.plan import Plan
    from viae.load.windows import Windows
    from viae.sequence import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A plan, and what came of it.

    Args:
        store: its address.
        snapshot: id of the state that was read.
        episodes: how many fit.
        skipped: windows left out for want of an input or of every target.
        plan: what to expect.
        achieved_windows_s: of the path chosen, measured; None where it was not run.
        measured_s: how long it was measured.
    """

    store: str
    snapshot: str
    episodes: int
    skipped: int
    plan: Plan
    achieved_windows_s: float | None
    measured_s: float

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; rates in windows per second."""
        return {
            "store": self.store, "snapshot": self.snapshot, "episodes": self.episodes,
            "skipped": self.skipped, **asdict(self.plan),
            "achieved_windows_s": self.achieved_windows_s, "measured_s": self.measured_s,
        }  # fmt: skip


def plan(
    store: Store,
    spec: LoadSpec,
    access: Access,
    *,
    where: str = "true",
    threads: int = 1,
    measure_s: float = 5.0,
    tell: Tell = quiet,
) -> LoadPlan:
    """Plan the loading of a spec's windows, and try the path chosen.

    Args:
        store: its newest snapshot is read.
        spec: what to load.
        access: what may be used.
        where: SQL condition on the table ``episodes``, beside that of the spec.
        threads: that make batches.
        measure_s: how long to try the path chosen, about; 0 for not at all.
        tell: told of progress.

    Raises:
        UsageError: no episode fits, the path demanded does not fit, or ``access.folder`` is a file.
        WindowError: the windows cannot be cut, or a picture cannot be decoded.
        QueryError: a condition or the weights are not SQL.
    """
    from viae.load import plan as planning
    from viae.load.windows import Windows

    if access.folder is not None:
        _check_folder(access.folder)
    pinned = store.at(store.snapshot())
    episodes = chosen(pinned, all_of(spec.where, where))

    def said(number: int, note: str) -> None:
        tell(Progress(phase="plan", done=number, total=3, note=note))

    def opened(how: Access) -> Windows:
        return Windows(pinned, spec.window, episodes, picture_sizes=spec.pictures, access=how)

    said(0, "windows")
    on_demand = opened(Access(path="decode", memory_bytes=access.memory_bytes))
    weights = _weights(pinned, spec, on_demand)
    said(1, "costs")
    found = planning.plan(on_demand, access, batch=spec.batch_size, threads=threads)
    achieved = None
    if measure_s > 0 and len(on_demand):
        said(2, f"trying {found.chosen}")
        windows = on_demand if found.chosen == "decode" else opened(access)
        achieved = achieved_windows_s(windows, spec.batch_size, threads, measure_s, weights)
    said(3, "")
    return LoadPlan(
        store=store.uri, snapshot=pinned.snapshot().snapshot_id, episodes=len(episodes),
        skipped=on_demand.skipped, plan=found, achieved_windows_s=achieved,
        measured_s=measure_s if achieved is not None else 0.0,
    )  # fmt: skip


def loader(
    store: Store,
    spec: LoadSpec,
    *,
    access: Access | None = None,
    where: str = "true",
    **options: Any,
) -> Loader:
    """Batches of a spec's windows, weights and all.

    Args:
        store: its newest snapshot is read; give ``store.at(snapshot)`` to read an older one.
        spec: what to load, see `viae.load.spec.read_spec`.
        access: what loading pictures may use.
        where: SQL condition on the table ``episodes``, beside that of the spec.
        options: of `viae.load.Loader`: seed, rank, ranks, threads, workers, drop_last, …

    Raises:
        UsageError: no episode fits, or options contradict each other.
        WindowError: the windows cannot be cut, or the weights are none.
        QueryError: a condition or the weights are not SQL.
    """
    from viae.load.loader import Loader
    from viae.load.windows import Windows

    pinned = store.at(store.snapshot())
    episodes = chosen(pinned, all_of(spec.where, where))
    windows = Windows(pinned, spec.window, episodes, picture_sizes=spec.pictures, access=access)
    weights = _weights(pinned, spec, windows)
    return Loader(windows, **{"batch_size": spec.batch_size, "weights": weights, **options})


def _check_folder(folder: Path) -> None:
    """Refuse what is no folder, and cannot become one."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{folder}: decoded frames cannot be kept here: {there} is no folder")


def _weights(store: Store, spec: LoadSpec, windows: Windows) -> npt.NDArray[np.float64] | None:
    """Of each window, as the spec says; None where it says nothing."""
    from viae.load.weights import episode_weights, window_weights

    if not spec.weights or not len(windows):
        return None
    per_episode = episode_weights(store, windows.episodes, spec.weights)
    return window_weights(windows.episode_of, per_episode, mass=spec.mass)


def achieved_windows_s(
    windows: Windows,
    batch: int,
    threads: int,
    seconds: float,
    weights: npt.NDArray[np.float64] | None = None,
) -> float:
    """Windows per second that a loader gives once it is warm.

    For half of the time windows are loaded from the beginning of an epoch on. Then a cache gives
    the same windows again; any other path gives those that follow.
    """
    from viae.load.loader import Loader

    loader = Loader(windows, batch_size=batch, threads=threads, weights=weights)
    order = loader.order
    warm, _ = _run(loader, seconds / 2)
    if windows.choice.path == "cache":
        loader = Loader(
            windows, batch_size=batch, threads=threads,
            order=Beginning(order, min(warm, len(order))),
        )  # fmt: skip
    loaded, took = _run(loader, seconds / 2)
    return loaded / took


def _run(loader: Loader, seconds: float) -> tuple[int, float]:
    """Load for some time, epoch after epoch: windows, and seconds taken."""
    begun = time.perf_counter()
    count = 0
    while True:
        for batch in loader:
            count += len(batch)
            if (took := time.perf_counter() - begun) >= seconds:
                return count, took


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first windows of an order, in each epoch the same.

    Args:
        order: whose first epoch it is.
        count: how many.
    """

    order: Order
    count: int

    def __len__(self) -> int:
        return self.count

    def take(self, epoch: int, start: int, stop: int) -> npt.NDArray[np.int64]:
        """See `viae.sequence.Order`."""
        return self.order.take(0, start, stop)

"""Leak: proves that windows know nothing of the future, and shows what frames by number would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viae.load.clocks import on_log_clock, read_clocks
from viae.load.proof import Checked, Cut, Disturbed, disturb, recheck, stored_times
from viae.load.spec import LoadSpec
from viae.load.windows import Windows
from viae.schema import Episode, Role, Take, WindowSpec
from viae.sequence import Timeline
from viae.sequence.alignment import frame_leads, frame_times
from viae.store import Store
from viae.verbs.choose import all_of, chosen
from viae.verbs.progress import Progress, Tell, quiet

ROUNDING_NS = 1000
"""A frame's time is rounded, and so are many stamps: what came within a microsecond is no leak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What the usual alignment, by frame number and rate, lets into an input.

    Args:
        windows: frames, each a window.
        leaking: those with a sample that had not arrived.
        median_lead_ms: how long before its arrival they have it, over those that leak.
        worst_lead_ms: likewise, the longest.
    """

    windows: int
    leaking: int
    median_lead_ms: float | None
    worst_lead_ms: float | None

    @property
    def share(self) -> float | None:
        """Of the windows that leak."""
        return self.leaking / self.windows if self.windows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputReport:
    """One input.

    Args:
        stream: its name.
        stamped: whether any sample was captured at another time than it arrived; where none was,
            the recording does not say how late its samples were, and a leak of it cannot be seen.
        checked: the windows that viae cuts.
        usual: those that are cut by frame number.
    """

    stream: str
    stamped: bool
    checked: Checked
    usual: Usual

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        worst = self.checked.worst_ns
        return {
            "stream": self.stream, "windows": self.checked.windows,
            "samples": self.checked.samples, "leaks": self.checked.leaks,
            "stamped": self.stamped,
            "worst_ms": None if worst is None else worst / 1e6,
            "named": [str(leak) for leak in self.checked.named],
            "usual": {
                "windows": self.usual.windows, "leaking": self.usual.leaking,
                "share": self.usual.share, "median_lead_ms": self.usual.median_lead_ms,
                "worst_lead_ms": self.usual.worst_lead_ms,
            },
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakReport:
    """What was proved.

    Args:
        store: its address.
        snapshot: the state that was looked at.
        episodes: how many.
        windows: how many the loader cut.
        inputs: one by one.
        disturbed: windows cut again from another future.
    """

    store: str
    snapshot: str
    episodes: int
    windows: int
    inputs: Sequence[InputReport]
    disturbed: Disturbed

    @property
    def proven(self) -> bool:
        """Whether no window has anything of the future."""
        return not self.disturbed.differ and not any(i.checked.leaks for i in self.inputs)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "store": self.store, "snapshot": self.snapshot, "episodes": self.episodes,
            "windows": self.windows, "proven": self.proven,
            "inputs": [each.to_json() for each in self.inputs],
            "disturbed": {
                "decisions": self.disturbed.decisions, "samples": self.disturbed.samples,
                "differ": list(self.disturbed.differ),
            },
        }  # fmt: skip


def leak(
    spec: LoadSpec,
    store: Store,
    *,
    where: str = "",
    decisions: int = 16,
    seed: int = 0,
    tell: Tell = quiet,
    loader: Callable[[Store, WindowSpec, Sequence[Episode]], Cut] = Windows,
) -> LeakReport:
    """Prove that no window of a spec contains a sample from after its decision.

    Args:
        spec: what would be loaded; its windows and its episodes count.
        store: where from; one snapshot of it.
        where: only episodes for which this SQL condition holds, besides the spec's.
        decisions: windows that are cut again from another future.
        seed: of which those are.
        tell: told of progress.
        loader: cuts windows; the real one.

    Raises:
        UsageError: no episode fits.
        QueryError: a condition is not SQL.
        WindowError: the windows cannot be cut.
    """
    store = store.at(store.snapshot())
    episodes = chosen(store, all_of(spec.where, where))
    ids = [episode.episode_id for episode in episodes]
    names = sorted({spec.window.decision, *(take.stream for take in spec.window.inputs)})

    def note(text: str, done: int) -> None:
        tell(Progress(phase="leak", done=done, total=4, note=text))

    note("windows", 0)
    windows = loader(store, spec.window, episodes)
    note("arrivals", 1)
    times = stored_times(store, ids, names)
    arrivals = {subject: arrival_ns for subject, (_, arrival_ns) in times.items()}
    roles = {row["stream"]: row["spec"].role for row in reversed(store.streams(ids))}
    checked = {
        take.stream: recheck(windows, arrivals, take, roles[take.stream])
        for take in spec.window.inputs
    }
    disturbed = disturb(
        windows, store, times, decisions=decisions, seed=seed, loader=loader,
        seen=lambda done, total: note(f"another future, {done / total:.0%}", 2),
    )  # fmt: skip
    note("by frame number", 3)
    clocks = read_clocks(store, ids)
    on_clock = {
        subject: Timeline(
            role=roles[subject[1]],
            capture_ns=on_log_clock(clocks, *subject, capture_ns, arrival_ns),
            arrival_ns=arrival_ns,
        )
        for subject, (capture_ns, arrival_ns) in times.items()
    }
    stamped = {
        name for (_, name), each in on_clock.items() if (each.capture_ns != each.arrival_ns).any()
    }
    inputs = [
        InputReport(
            stream=take.stream, stamped=take.stream in stamped, checked=checked[take.stream],
            usual=_usual(spec.window, take, ids, on_clock, roles),
        )
        for take in spec.window.inputs
    ]  # fmt: skip
    note("", 4)
    return LeakReport(
        store=store.uri, snapshot=store.snapshot().snapshot_id, episodes=len(episodes),
        windows=len(windows), inputs=inputs, disturbed=disturbed,
    )  # fmt: skip


def _usual(
    spec: WindowSpec,
    take: Take,
    ids: Sequence[str],
    timelines: Mapping[tuple[str, str], Timeline],
    roles: Mapping[str, Role],
) -> Usual:
    windows = 0
    leads = [np.empty(0)]
    for id_ in ids:
        decision, stream = timelines.get((id_, spec.decision)), timelines.get((id_, take.stream))
        if decision is None or stream is None:
            continue
        frames_ns, period_ns = frame_times(decision, spec.rate_hz)
        lead_ns, there = frame_leads(stream, take, frames_ns, period_ns)
        windows += int(there.any(axis=1).sum())
        worst = np.where(there, lead_ns, 0).max(axis=1, initial=0)
        leads.append(worst[worst > ROUNDING_NS] / 1e6)
    lead_ms = np.concatenate(leads)
    return Usual(
        windows=windows,
        leaking=len(lead_ms),
        median_lead_ms=float(np.median(lead_ms)) if len(lead_ms) else None,
        worst_lead_ms=float(lead_ms.max()) if len(lead_ms) else None,
    )

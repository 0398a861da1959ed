"""The hits of a search as one HTML file: pictures where there are any, else plots of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from viae.errors import WindowError
from viae.load import Windows
from viae.schema import NS_PER_S, Episode, Kind, Role, StreamSpec, Take, WindowSpec
from viae.store import Store
from viae.verbs import figures
from viae.verbs.page import jpeg, write_page
from viae.verbs.search import Hit, SearchReport

PICTURES = (Kind.IMAGE, Kind.VIDEO)
WIDTH = 192
"""Pixels across a thumbnail."""
AROUND_S = (-1.0, 0.0, 1.0)
"""The moments that thumbnails show, after the hit's."""
PLOT_S = 2.0
"""Seconds before and after a hit that are plotted."""
MOST_CAMERAS = 3
MOST_PLOTS = 3
MOST_ELEMENTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    """What the page shows of a hit."""

    hit: Hit
    pictures: list[tuple[str, list[str]]] = field(default_factory=list)
    plots: list[tuple[str, str]] = field(default_factory=list)
    failed: str = ""


def search_page(store: Store, report: SearchReport, out: Path) -> Path:
    """Write the hits, and the moment asked for, as a page that needs nothing beside it.

    Args:
        store: that was searched.
        report: of the search.
        out: the HTML file.

    Raises:
        UsageError: it cannot be written.
    """
    hits = [*([report.like] if report.like else []), *report.hits]
    shots = _shots(store.at(store.snapshot()), hits)
    return write_page(
        out, "search.html.jinja", report=report, shots=shots[bool(report.like) :],
        like=shots[0] if report.like else None, around_s=AROUND_S, plot_s=PLOT_S,
    )  # fmt: skip


def _shots(store: Store, hits: Sequence[Hit]) -> list[_Shot]:
    specs: dict[str, dict[str, StreamSpec]] = {}
    for row in store.streams({hit.episode.episode_id for hit in hits}):
        specs.setdefault(row["episode_id"], {})[row["stream"]] = row["spec"]
    shots = []
    cameras: dict[tuple[str, str], Windows] = {}
    for hit in hits:
        own = specs.get(hit.episode.episode_id, {})
        pictures, failed = [], ""
        for name in [n for n, spec in own.items() if spec.kind in PICTURES][:MOST_CAMERAS]:
            try:
                key = (hit.episode.episode_id, name)
                if key not in cameras:
                    cameras[key] = _camera(store, hit.episode, own[name])
                pictures.append((name, _thumbnails(cameras[key], name, hit)))
            except WindowError as error:
                failed = str(error)
        plots = [] if pictures else _plots(store, hit, own)
        shots.append(_Shot(hit=hit, pictures=pictures, plots=plots, failed=failed))
    return shots


def _camera(store: Store, episode: Episode, spec: StreamSpec) -> Windows:
    """The pictures of one stream of an episode, a window each, decoded when asked for."""
    window = WindowSpec(decision=spec.name, inputs=(Take(stream=spec.name, steps=(0,)),), stops=())
    height, width = spec.shape[:2]
    sizes = {}
    if width > WIDTH and height > 0:
        sizes[spec.name] = (max(1, round(height * WIDTH / width)), WIDTH)
    return Windows(store, window, [episode], picture_sizes=sizes)


def _thumbnails(windows: Windows, stream: str, hit: Hit) -> list[str]:
    """The pictures known around a hit, as addresses that hold their own data."""
    at_ns = hit.episode.start_ns + round(hit.at_s * NS_PER_S)
    wanted = at_ns + (np.array(AROUND_S) * NS_PER_S).astype(np.int64)
    found = np.searchsorted(windows.decisions_ns, wanted, side="right") - 1
    shown = windows.batch(np.clip(found, 0, len(windows) - 1)).inputs[stream]
    return [jpeg(picture[0].transpose(1, 2, 0)) for picture in shown]


def _plots(store: Store, hit: Hit, specs: Mapping[str, StreamSpec]) -> list[tuple[str, str]]:
    """Numbers around a hit, observations first."""
    numeric = [spec for spec in specs.values() if spec.kind is Kind.VECTOR and not spec.varies]
    numeric.sort(key=lambda spec: (spec.role is not Role.OBSERVATION, spec.name))
    names = [spec.name for spec in numeric[:MOST_PLOTS]]
    read: Mapping[tuple[str, str], Any] = store.samples([hit.episode.episode_id], names)
    plots = []
    for name in names:
        samples = read.get((hit.episode.episode_id, name))
        if samples is None:
            continue
        at_s = (samples.arrival_ns - hit.episode.start_ns) / NS_PER_S - hit.at_s
        near = np.abs(at_s) <= PLOT_S
        values = np.asarray(samples.values, np.float64).reshape(len(samples), -1)
        svg = figures.around(at_s[near], values[near][:, :MOST_ELEMENTS])
        plots.append((name, svg))
    return plots

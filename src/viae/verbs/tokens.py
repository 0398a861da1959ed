"""Tokens: what each stream of a store costs in tokens, and what its samples lose by them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.errors import TokenError, UsageError, WindowError
from viae.load.timelines import StreamRows, read_timelines
from viae.load.vectors import read_vectors
from viae.schema import NS_PER_S, Episode, Kind, StreamSpec
from viae.store import Store
from viae.verbs.choose import chosen
from viae.verbs.progress import Progress, Tell, quiet
from viae.verbs.tokens_pictures import PicturesReport, picture_tokens

if TYPE_CHECKING:
    from viae.model.tokens import StreamReport
    from viae.model.tokens.tokenizer import PictureTokenizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shown:
    """A stretch of a stream, recorded and decoded.

    Args:
        episode_id: where it is from: the episode with most samples of the stream.
        at_s: float64 [N], seconds after the episode's begin, ascending.
        recorded: float64 [N, D].
        decoded: float64 [N, D].
    """

    episode_id: str
    at_s: npt.NDArray[np.float64]
    recorded: npt.NDArray[np.float64]
    decoded: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensReport:
    """Tokens of streams.

    Args:
        store: its address.
        snapshot: id of the state that was read.
        where: the SQL condition on ``episodes``.
        episodes: how many fit it.
        duration_s: robot time of these.
        streams: by name.
        shown: of vectors, for plots.
        pictures: streams of pictures, by name.
        without: streams that this verb has no tokens for, and why.
        failed: streams whose samples could not be coded, and why.
    """

    store: str
    snapshot: str
    where: str
    episodes: int
    duration_s: float
    streams: dict[str, StreamReport] = field(default_factory=dict)
    shown: dict[str, Shown] = field(default_factory=dict)
    pictures: dict[str, PicturesReport] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "store": self.store, "snapshot": self.snapshot, "where": self.where,
            "episodes": self.episodes, "duration_s": self.duration_s,
            "streams": [found.to_json() for found in self.streams.values()],
            "pictures": [found.to_json() for found in self.pictures.values()],
            "without_tokens": self.without, "failed": self.failed,
        }  # fmt: skip


def tokens(
    store: Store,
    *,
    where: str = "true",
    streams: Sequence[str] = (),
    bins: int = 256,
    fine: int = 0,
    pictures: Sequence[Path] = (),
    tell: Tell = quiet,
) -> TokensReport:
    """Fit a codec on each stream, code all its samples, decode them again, and compare.

    Samples are taken in order of arrival; each is coded given the recorded one before it. The
    figures are of the samples that the codecs were fitted on. Pictures are coded by tokenizers that
    were trained before, on whatever they were trained on.

    Args:
        store: its newest snapshot is read.
        where: SQL condition on the table ``episodes``.
        streams: names; none are all.
        bins: tokens per slot of a vector, at most; at least 16.
        fine: a second token for coarse elements, of so many values; 0 for none.
        pictures: folders of tokenizers, from `viae train tokenizer`.
        tell: told of progress.

    Raises:
        UsageError: no episode fits, a stream or a tokenizer's stream that none of them has, or
            options out of range.
        BundleError: there is no tokenizer in a folder.
        QueryError: ``where`` is not SQL.
    """
    from viae.model.tokens.vector import LEAST_BINS

    if bins < LEAST_BINS or fine < 0 or fine == 1:
        raise UsageError(
            f"a slot has at least {LEAST_BINS} tokens and a second one at least 2, not {bins} and "
            f"{fine}"
        )
    pinned = store.at(store.snapshot())
    episodes = chosen(pinned, where)
    ids = [episode.episode_id for episode in episodes]
    specs: dict[str, StreamSpec] = {}
    for row in pinned.streams(ids):
        specs.setdefault(row["stream"], row["spec"])
    tokenizers = _tokenizers(pictures)
    if unknown := sorted({*streams, *tokenizers} - specs.keys()):
        raise UsageError(f"no episode has a stream '{unknown[0]}'; there are {sorted(specs)}")
    names = sorted({*(streams or specs), *tokenizers})
    report = TokensReport(
        store=store.uri, snapshot=pinned.snapshot().snapshot_id, where=where, episodes=len(ids),
        duration_s=sum(e.end_ns - e.start_ns for e in episodes) / NS_PER_S,
    )  # fmt: skip
    for name in [name for name in names if name in tokenizers]:
        tell(Progress(phase="pictures", done=0, total=1, note=name))
        try:
            report.pictures[name] = picture_tokens(pinned, episodes, tokenizers[name])
        except (WindowError, TokenError) as error:
            report.failed[name] = str(error)
        tell(Progress(phase="pictures", done=1, total=1, note=name))
    names = [name for name in names if name not in tokenizers]
    coded = [name for name in names if not _why_none(specs[name])]
    report.without.update({name: _why_none(specs[name]) for name in names if name not in coded})
    times = _timelines(pinned, ids, coded, report.failed)
    for number, (name, rows) in enumerate(times.items()):
        tell(Progress(phase="tokens", done=number, total=len(times), note=name))
        try:
            _add(report, pinned, episodes, rows, bins, fine)
        except (WindowError, TokenError) as error:
            report.failed[name] = str(error)
    tell(Progress(phase="tokens", done=len(times), total=len(times)))
    return report


def _tokenizers(folders: Sequence[Path]) -> dict[str, PictureTokenizer]:
    """By the stream they were trained on."""
    if not folders:
        return {}
    from viae.model.tokens.tokenizer import PictureTokenizer

    found: dict[str, PictureTokenizer] = {}
    for folder in folders:
        made = PictureTokenizer.load(folder)
        if made.stream in found:
            raise UsageError(f"{folder}: a second tokenizer for '{made.stream}'; give one")
        found[made.stream] = made
    return found


def _timelines(
    store: Store, ids: Sequence[str], names: Sequence[str], failed: dict[str, str]
) -> dict[str, StreamRows]:
    """The times of streams, in one sweep unless one of them makes it fail."""
    try:
        return read_timelines(store, ids, names)
    except WindowError as error:
        if len(names) == 1:
            failed[names[0]] = str(error)
            return {}
    return {k: rows for name in names for k, rows in _timelines(store, ids, [name], failed).items()}


def _why_none(spec: StreamSpec) -> str:
    if spec.kind in (Kind.IMAGE, Kind.VIDEO):
        return "pictures: train a tokenizer with  viae train tokenizer  and name it by --pictures"
    if spec.kind is Kind.BYTES:
        return "bytes that mean nothing to viae"
    return "its samples vary in length" if spec.varies else ""


def _add(
    report: TokensReport, store: Store, episodes: Sequence[Episode], rows: StreamRows, bins: int,
    fine: int,
) -> None:  # fmt: skip
    from viae.model.tokens.fitting import fit_stream
    from viae.model.tokens.report import before_each, measure

    ids, spec = [episode.episode_id for episode in episodes], rows.spec
    if not len(rows):
        report.without[spec.name] = "it has no samples"
        return
    order = _by_arrival(rows)
    values: Any
    if spec.kind is Kind.TEXT:
        read = store.samples(ids, [spec.name])
        texts = list(itertools.chain.from_iterable(
            read[id_, spec.name].values for id_ in ids if (id_, spec.name) in read
        ))  # fmt: skip
        values = [texts[i] for i in order.tolist()]
    else:
        values = read_vectors(store, ids, {spec.name: rows})[spec.name][order]
    before, first = before_each(values, rows.starts)
    codecs = fit_stream(values, before, first, spec, bins=bins, fine=fine)
    found, back = measure(codecs, values, before, first, spec, report.duration_s)
    report.streams[spec.name] = found
    if spec.kind is Kind.VECTOR:
        longest = int(np.argmax(np.diff(rows.starts)))
        part = slice(int(rows.starts[longest]), int(rows.starts[longest + 1]))
        at_ns = rows.arrival_ns[order][part] - episodes[longest].start_ns
        count = part.stop - part.start
        report.shown[spec.name] = Shown(
            episode_id=ids[longest], at_s=at_ns / NS_PER_S,
            recorded=values[part].reshape(count, -1).astype(np.float64),
            decoded=back[part].reshape(count, -1).astype(np.float64),
        )  # fmt: skip


def _by_arrival(rows: StreamRows) -> npt.NDArray[np.int64]:
    """Samples episode after episode, in each by arrival; equal ones as recorded."""
    episode = np.repeat(np.arange(len(rows.starts) - 1), np.diff(rows.starts))
    return np.lexsort((rows.arrival_ns, episode))

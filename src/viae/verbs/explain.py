"""Explain a log: which streams it becomes, as a draft of a mapping file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from viae.logs import LogEpisode, Statement, open_log
from viae.logs.mapping import VERSION, StreamMapping
from viae.schema import Loss, StreamSpec
from viae.verbs.progress import Progress, Tell, quiet

HEAD = """\
# What the general rules make of {path} ({format}).
# Change what you know better, and give the file to:  viae ingest LOG --mapping FILE
#   name: another name          role: observation, action or outcome     unit: its SI symbol
#   names: one per element      clock: which clock stamps it             skip: true leaves it out
# Under 'topics' you can say where capture times are (see the documentation on logs).
"""


@dataclass(slots=True)
class _Seen:
    spec: StreamSpec
    samples: int = 0
    first_ns: int = 0
    last_ns: int = 0


def explain(path: Path, *, mapping: StreamMapping | None = None, tell: Tell = quiet) -> str:
    """A mapping file that changes nothing: every stream of a log as it is.

    Args:
        path: a log; of one with several episodes the first is read.
        mapping: applied first, so that its effect can be seen.
        tell: told of progress, per block.

    Raises:
        LogError: the log cannot be read.
    """
    log = open_log(path)
    seen: dict[str, _Seen] = {}
    for episode in log.episodes:
        _look(episode, mapping, seen, tell)
        break
    said = {
        "viae_mapping": VERSION,
        "episode": dict(mapping.episode) if mapping else {},
        "topics": {key: dict(rule) for key, rule in mapping.topics.items()} if mapping else {},
    }
    lines = [HEAD.format(path=path.name, format=log.format) + yaml.safe_dump(said, sort_keys=False)]
    lines.append("streams:\n" if seen else "streams: {}\n")
    for name, stream in seen.items():
        rule = {"role": str(stream.spec.role)}
        if stream.spec.unit:
            rule["unit"] = stream.spec.unit
        text = yaml.safe_dump({name: rule}, default_flow_style=None, width=10_000).strip()
        lines.append(f"  {text}  # {_comment(stream)}\n")
    return "".join(lines)


def _look(
    episode: LogEpisode, mapping: StreamMapping | None, seen: dict[str, _Seen], tell: Tell
) -> None:
    items = mapping.apply(episode.read()) if mapping else episode.read()
    samples = 0
    for item in items:
        if isinstance(item, Statement | Loss):
            continue
        stream = seen.setdefault(item.spec.name, _Seen(item.spec, first_ns=int(item.arrival_ns[0])))
        stream.samples += len(item)
        stream.last_ns = int(item.arrival_ns[-1])
        samples += len(item)
        tell(Progress(phase="explain", done=0, total=1, note=f"{samples:,} samples"))
    tell(Progress(phase="explain", done=1, total=1))


def _comment(stream: _Seen) -> str:
    spec = stream.spec
    what = [str(spec.kind), spec.dtype, str(list(spec.shape)) if spec.shape else "", spec.encoding]
    span_s = (stream.last_ns - stream.first_ns) / 1e9
    rate = f", {(stream.samples - 1) / span_s:.4g} Hz" if span_s > 0 else ""
    clock = "" if spec.clock == "log" else f", clock {spec.clock}"
    return f"{' '.join(filter(None, what))}, {stream.samples} samples{rate}{clock}"

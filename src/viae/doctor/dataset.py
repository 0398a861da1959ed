"""Episodes against each other: what only shows when one looks at many.

Statistics are robust (medians) and slow to accuse: an outlier is far out in units of the others'
spread *and* by a plain factor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viae.doctor.digest import EpisodeDigest
from viae.doctor.elements import check_elements
from viae.doctor.finding import Finding, Rule, Severity, rule
from viae.doctor.sketch import near_duplicates
from viae.schema import Kind

Floats: TypeAlias = npt.NDArray[np.float64]

LEAST_EPISODES = 8
"""Fewer have no spread worth the name."""
FAR = 5.0
"""Robust deviations from the median that make an outlier."""
FACTOR = 2.0
SAME_RATE = 0.05
SHOWN = 5

DUPLICATE_EPISODES = rule(
    "near-duplicate-episodes",
    Severity.WARNING,
    "episodes repeat each other",
    consequence="repeated episodes weigh more than the others, and where one copy is trained on "
    "and the other held out, the held-out error is too good",
    fix="Keep one of each; or put the copies on the same side of the split.",
)
LENGTH_OUTLIER = rule(
    "length-outlier",
    Severity.WARNING,
    "episodes of very unusual length",
    consequence="a recording that was cut short teaches to stop midway; one that ran on teaches to "
    "wait",
    fix="Look at these episodes; trim them, or exclude them.",
)
SMOOTHNESS_OUTLIER = rule(
    "smoothness-outlier",
    Severity.WARNING,
    "episodes that move far less smoothly than the others",
    consequence="cloning averages over jerky demonstrations, or copies the jerk; often it is "
    "another operator, or a fault of sensor or link",
    fix="Look at these episodes; exclude them, or record them again.",
)
STREAM_MISSING = rule(
    "stream-missing",
    Severity.WARNING,
    "a stream that other episodes have is not there",
    consequence="windows on these episodes are padded or skipped, and the policy learns that the "
    "sensor may be blind",
    fix="Exclude these episodes, or leave the stream out of the window spec.",
)
SHAPE_DIFFERS = rule(
    "shape-differs",
    Severity.ERROR,
    "a stream changes its shape or type between episodes",
    consequence="its samples cannot stand in one batch, or their elements mean different things",
    fix="Put the episodes into datasets of their own, or bring the stream to one shape first.",
)
RATE_DIFFERS = rule(
    "rate-differs",
    Severity.WARNING,
    "a stream runs at another rate in some episodes",
    consequence="windows in native samples span different times; a policy meets two dynamics",
    fix="Give the offsets of the window spec in seconds, or split the dataset by rate.",
)
TASK_MISSING = rule(
    "task-missing",
    Severity.NOTE,
    "some episodes do not say their task",
    consequence="a policy that is told its task cannot learn from them",
    fix="Add the task as a fact, or in the dataset's metadata.",
)
ONE_TASK = rule(
    "one-task",
    Severity.NOTE,
    "every episode has the same task",
    consequence="the task is constant and carries nothing: a policy that is told another one does "
    "this one",
    fix="Nothing for a policy of one task; record others before conditioning on the task.",
)


def check_dataset(
    path: str, digests: Sequence[EpisodeDigest], *, padded: bool = False
) -> list[Finding]:
    """Compare the episodes of a dataset.

    Args:
        path: the dataset, for the findings.
        digests: of its episodes, in order.
        padded: see `elements.check_elements`.

    Returns:
        At most one finding per rule and stream. Nothing for fewer than two episodes.

    Cost: O(n log n) in the number of episodes, but for those that are nearly alike.
    """
    if len(digests) < 2:
        return []
    checks: list[Callable[[str, Sequence[EpisodeDigest]], list[Finding]]] = [
        _duplicates, _lengths, _smoothness, _missing, _shapes, _rates, _tasks,
    ]  # fmt: skip
    found = check_elements(path, digests, padded=padded)
    return found + [finding for check in checks for finding in check(path, digests)]


# -- the checks -----------------------------------------------------------------------------------


def _duplicates(path: str, digests: Sequence[EpisodeDigest]) -> list[Finding]:
    groups = near_duplicates([digest.sketch for digest in digests])
    if not groups:
        return []
    extra = sum(len(group) - 1 for group in groups)
    shown = "; ".join(_listed([digests[i].label for i in group]) for group in groups[:SHOWN])
    more = f"; and {len(groups) - SHOWN} more groups" if len(groups) > SHOWN else ""
    return [
        Finding(
            rule=DUPLICATE_EPISODES,
            path=path,
            count=extra,
            evidence=f"{extra} of {len(digests)} episodes repeat another: {shown}{more}",
            values={"groups": [[digests[i].label for i in group] for group in groups]},
        )
    ]


def _lengths(path: str, digests: Sequence[EpisodeDigest]) -> list[Finding]:
    lengths = np.array([digest.length_s for digest in digests])
    far = _far_out(lengths)
    return _outliers(
        LENGTH_OUTLIER, path, digests, lengths, far,
        f"{far.sum()} of {len(digests)} episodes last {{low}} to {{high}} s, the median "
        f"{np.median(lengths):.3g} s", "length_s",
    )  # fmt: skip


def _smoothness(path: str, digests: Sequence[EpisodeDigest]) -> list[Finding]:
    found: list[Finding] = []
    for name in _names(digests):
        having = [digest for digest in digests if name in digest.roughness_hz]
        values = np.array([digest.roughness_hz[name] for digest in having])
        far = _far_out(values) & (values > np.median(values)) if len(values) else np.empty(0, bool)
        found += _outliers(
            SMOOTHNESS_OUTLIER, path, having, values, far,
            f"{far.sum()} of {len(having)} episodes change direction {{low}} to {{high}} times a "
            f"second in '{name}', the median "
            f"{np.median(values) if len(values) else 0:.3g}", "roughness_hz", stream=name,
        )  # fmt: skip
    return found


def _outliers(
    of: Rule,
    path: str,
    digests: Sequence[EpisodeDigest],
    values: Floats,
    far: npt.NDArray[np.bool_],
    evidence: str,
    unit: str,
    *,
    stream: str = "",
) -> list[Finding]:
    if not far.any():
        return []
    at = np.flatnonzero(far)
    at = at[np.argsort(-np.abs(np.log(values[at] / np.median(values))))]
    ends = {"low": f"{values[at].min():.3g}", "high": f"{values[at].max():.3g}"}
    labels = [digests[i].label for i in at.tolist()]
    return [
        Finding(
            rule=of,
            path=path,
            stream=stream,
            count=len(at),
            evidence=f"{evidence.format(**ends)}: {_listed(labels)}",
            values={
                "episodes": labels,
                unit: [float(v) for v in values[at]],
                "median": float(np.median(values)),
            },
        )
    ]


def _far_out(values: Floats) -> npt.NDArray[np.bool_]:
    """Bool [N], values far from the median in ratio, by robust z-score and by a plain factor."""
    none = np.zeros(len(values), bool)
    if len(values) < LEAST_EPISODES or (values <= 0).any():
        return none
    away = np.abs(np.log(values) - np.median(np.log(values)))
    deviation = max(1.4826 * float(np.median(away)), 0.02)
    far = (away > FAR * deviation) & (away > np.log(FACTOR))
    return far if far.sum() <= len(values) / 5 else none  # so many are no outliers but a kind


def _missing(path: str, digests: Sequence[EpisodeDigest]) -> list[Finding]:
    """One finding for the streams of a topic, which is there or is not."""
    alike: dict[tuple[str, tuple[str, ...]], list[Finding]] = {}
    for name in _names(digests):
        having = [d.streams[name] for d in digests if name in d.streams]
        if len(having) == len(digests) or having[0].kind in (Kind.TEXT, Kind.BYTES):
            continue
        without = [digest.label for digest in digests if name not in digest.streams]
        topic = having[0].topic or name
        alike.setdefault((topic, tuple(without)), []).append(
            Finding(
                rule=STREAM_MISSING,
                path=path,
                stream=name,
                count=len(without),
                evidence=f"'{name}' is in {len(having)} of {len(digests)} episodes, and not in "
                f"{_listed(without)}",
                values={"episodes": without, "of": len(digests)},
            )
        )
    return [
        replace(
            group[0],
            evidence=f"{group[0].evidence}"
            + (f"; nor {len(group) - 1} more of '{topic}'" if len(group) > 1 else ""),
            values={**group[0].values, "streams": [f.stream for f in group]},
        )
        for (topic, _), group in alike.items()
    ]


def _shapes(path: str, digests: Sequence[EpisodeDigest]) -> list[Finding]:
    found = []
    for name in _names(digests):
        forms = Counter(d.streams[name].form for d in digests if name in d.streams)
        if len(forms) < 2:
            continue
        usual = forms.most_common(1)[0][0]
        others = [d.label for d in digests if name in d.streams and d.streams[name].form != usual]
        said = ", ".join(f"{form} in {count}" for form, count in forms.most_common(4))
        found.append(
            Finding(
                rule=SHAPE_DIFFERS,
                path=path,
                stream=name,
                count=len(others),
                evidence=f"'{name}' is {said} episodes; another than usual in {_listed(others)}",
                values={"forms": dict(forms), "episodes": others},
            )
        )
    return found


def _rates(path: str, digests: Sequence[EpisodeDigest]) -> list[Finding]:
    found = []
    for name in _names(digests):
        rates = {
            d.label: rate
            for d in digests
            if name in d.streams and (rate := d.streams[name].rate_hz) is not None
        }
        if len(rates) < 2:
            continue
        usual = float(np.median(list(rates.values())))
        others = {
            label: rate for label, rate in rates.items() if abs(rate - usual) > SAME_RATE * usual
        }
        if not others:
            continue
        low, high = min(others.values()), max(others.values())
        found.append(
            Finding(
                rule=RATE_DIFFERS,
                path=path,
                stream=name,
                count=len(others),
                evidence=f"'{name}' runs at {usual:.4g} Hz, but at {low:.4g} to {high:.4g} Hz in "
                f"{len(others)} of {len(rates)} episodes: {_listed(list(others))}",
                values={"usual_hz": usual, "rates_hz": dict(others)},
            )
        )
    return found


def _tasks(path: str, digests: Sequence[EpisodeDigest]) -> list[Finding]:
    tasks = {digest.task for digest in digests}
    if len(tasks) == 1 and "" not in tasks:
        evidence = f"all {len(digests)} episodes have the task '{digests[0].task:.120}'"
        return [Finding(rule=ONE_TASK, path=path, evidence=evidence, count=len(digests))]
    without = [digest.label for digest in digests if not digest.task]
    if not without or len(without) == len(digests):
        return []
    return [
        Finding(
            rule=TASK_MISSING,
            path=path,
            count=len(without),
            evidence=f"{len(without)} of {len(digests)} episodes name no task: {_listed(without)}",
            values={"episodes": without},
        )
    ]


def _names(digests: Sequence[EpisodeDigest]) -> list[str]:
    return list(dict.fromkeys(name for digest in digests for name in digest.streams))


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more

"""Findings that say the same of many episodes, as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from viae.doctor.finding import Finding


def fold(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each rule, path and stream, the worst first.

    The evidence is that of the episode in which most samples are concerned, and says of how many
    episodes it is true. A finding that stands alone stays as it is.
    """
    alike: dict[tuple[str, str, str, str], list[Finding]] = {}
    for finding in findings:
        key = (finding.name, finding.path, finding.stream, finding.other)
        alike.setdefault(key, []).append(finding)
    folded = [_one(group) for group in alike.values()]
    return sorted(folded, key=lambda finding: -finding.severity.rank)


def _one(group: list[Finding]) -> Finding:
    if len(group) == 1:
        return group[0]
    worst = max(group, key=lambda finding: finding.count or 0)
    episodes = len({finding.episode for finding in group})
    counts = [finding.count for finding in group if finding.count is not None]
    many = f"in {episodes} episodes" if episodes > 1 else f"{len(group)} times"
    where = f" ({worst.episode})" if worst.episode and episodes > 1 else ""
    return replace(
        worst,
        episode="",
        count=sum(counts) if counts else None,
        evidence=f"{many}, for one{where}: {worst.evidence}",
    )

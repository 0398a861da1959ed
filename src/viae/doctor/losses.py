"""What reading a log lost, skipped or repaired, as findings under the same names."""

from __future__ import annotations

from viae.doctor import counters  # noqa: F401  (its rule shares its name with a loss)
from viae.doctor.finding import CATALOGUE, Finding, Rule, Severity, rule
from viae.schema import Loss, LossKind

_LOST = "what was lost is missing from every window; a policy trained on the rest does not know it"
for _name, _title, _fix in (
    (
        "episodes-missing", "declared episodes are not there",
        "Fetch the missing episodes, or correct the declaration.",
    ),
    (
        "frames-missing", "declared frames are not there",
        "Fetch the missing files, or correct the declaration.",
    ),
    (
        "dropout", "the recorder could not write for a while",
        "Log fewer topics, or to faster storage; mask windows across the gap.",
    ),
    (
        "chunk-damaged", "a part of the file is damaged",
        "Copy the file again; what was intact has been read.",
    ),
    (
        "truncated", "the file ends in the middle",
        "Copy the file again, or keep what was read up to there.",
    ),
    (
        "count-differs", "the log declares another count than it holds",
        "Find out which is right before relying on frame numbers.",
    ),
):  # fmt: skip
    if _name not in CATALOGUE:
        rule(_name, Severity.ERROR, _title, consequence=_LOST, fix=_fix)

_KINDS = {
    LossKind.LOST: (
        Severity.ERROR, "the log lacks something it should hold", _LOST,
        "Find a whole copy, or exclude what depends on it.",
    ),
    LossKind.SKIPPED: (
        Severity.NOTE, "something in the log was not taken", "it cannot be learned from",
        "See the evidence; a mapping file can say how to read it.",
    ),
    LossKind.REPAIRED: (
        Severity.NOTE, "something was taken in another form than declared",
        "the values are the log's, their meaning is a guess",
        "See the evidence, and check the stream before training on it.",
    ),
}  # fmt: skip


def finding_of(loss: Loss, *, episode: str = "") -> Finding:
    """A loss as a finding under its own name.

    Args:
        loss: what a reader reported.
        episode: the episode in which it was met; empty for the log as a whole.

    Returns:
        Its rule is the catalogue's, or one made for its kind where the catalogue has none.
    """
    known = CATALOGUE.get(loss.name)
    if known is None:
        severity, title, consequence, fix = _KINDS[loss.kind]
        known = Rule(
            name=loss.name, severity=severity, title=title, consequence=consequence, fix=fix
        )
    return Finding(
        rule=known, path=loss.path, evidence=loss.detail, values={"kind": str(loss.kind)},
        episode=episode, stream=loss.stream, at_ns=loss.at_ns, count=loss.count,
    )  # fmt: skip

"""Video against its table: as many frames, at the rate that the table's times say.

The table of a video is what gives its frames their times: in a dataset the rows of the episode,
which the reader has matched already; beside a log, the stream that has a message per frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

import numpy as np

from viae.doctor.finding import Finding, Severity, rule
from viae.doctor.trace import EpisodeTrace, StreamTrace
from viae.schema import NS_PER_S, Kind, TimesNs

SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts"})
PICTURE_WORDS = ("video", "frame", "image", "camera", "cam", "rgb", "color", "colour", "picture")
SAME_RATE = 0.01
LEAST_FRAMES = 10

VIDEO_RATE_WRONG = rule(
    "video-rate-wrong",
    Severity.WARNING,
    "the video's own frame rate is not that of its table",
    consequence="whoever takes times from the video file gets pictures that run away from the "
    "states, the farther the longer the episode",
    fix="Take each frame's time from the table, never from the video; write the video again with "
    "the true rate if other tools read it.",
)
VIDEO_FRAMES_MISSING = rule(
    "video-frames-missing",
    Severity.ERROR,
    "the video has fewer frames than its table",
    consequence="nobody can tell which frames are missing, so every picture after the first of "
    "them may be paired with the state of another moment",
    fix="Record pictures and their times in one file; for this log, leave the video out, or use it "
    "only up to a point where you have checked the pairing.",
)
VIDEO_FRAMES_EXTRA = rule(
    "video-frames-extra",
    Severity.WARNING,
    "the video has more frames than its table",
    consequence="nobody can tell which frames have no row, so pictures may be paired with the "
    "state of another moment",
    fix="Find out whether the table began late or ended early, and cut the video to it.",
)

PAIRING = (
    "nobody can tell which frames are missing, so pictures may be paired with the state of another "
    "moment"
)
BLIND = "the episode has no pictures from there on: windows on it are padded or skipped"
for _name, _severity, _title, _consequence, _fix in (
    ("video-missing", Severity.ERROR, "a declared video is not there", BLIND,
     "Fetch the file, or exclude these episodes from training on this camera."),
    ("video-unreadable", Severity.ERROR, "a video cannot be opened", BLIND,
     "Copy the file again, or exclude these episodes from training on this camera."),
    ("video-short", Severity.ERROR, "a video has fewer frames than its table", PAIRING,
     "Copy the video again if the original still exists; else leave the episode out."),
    ("video-long", Severity.WARNING, "a video has more frames than its table", PAIRING,
     "Find out which frames have no row, and cut the video to the table."),
    ("video-no-key-frame", Severity.ERROR, "frames of a video cannot be decoded", BLIND,
     "Copy the video again if the original still exists."),
    ("codec-differs", Severity.NOTE, "a video's codec is another than declared",
     "none in viae, which looks at the video; a decoder chosen by the declaration fails",
     "Correct the codec in the dataset's metadata."),
    ("pictures-undecodable", Severity.WARNING, "pictures could not be decoded",
     "training on them will fail at the same place",
     "See the evidence; find a whole copy, or leave the stream out."),
):  # fmt: skip
    rule(_name, _severity, _title, consequence=_consequence, fix=_fix)


def check(trace: EpisodeTrace) -> list[Finding]:
    """The videos of one episode, whose frames have the times of its table."""
    findings = []
    for stream in trace.streams.values():
        if stream.spec.kind is not Kind.VIDEO or stream.frames_per_s is None:
            continue
        if len(stream) < LEAST_FRAMES:
            continue
        own, median, mean = stream.frames_per_s, *_rates(stream.capture_ns)
        if _differ(own, median) and _differ(own, mean):
            findings.append(
                Finding(
                    rule=VIDEO_RATE_WRONG,
                    path=trace.path,
                    episode=trace.episode,
                    stream=stream.spec.name,
                    count=len(stream),
                    evidence=f"the video says {own:.2f} frames/s, the times of its {len(stream)} "
                    f"frames {median:.2f}",
                    values={"video_hz": own, "table_hz": median},
                )
            )
    return findings


def check_pair(video: EpisodeTrace, log: EpisodeTrace) -> list[Finding]:
    """A video file that lies beside a log.

    Args:
        video: the video file, traced.
        log: the log beside it.

    Returns:
        Nothing where no stream of the log can be its table.
    """
    frames = next((s for s in video.streams.values() if s.spec.kind is Kind.VIDEO), None)
    if frames is None or len(frames) < LEAST_FRAMES:
        return []
    table = table_of(frames, video.path, log.streams.values())
    if table is None:
        return []
    name, where = PurePath(video.path).name, _where(table, log)
    found = []

    def say(of: str, evidence: str, count: int, **values: float) -> None:
        found.append(
            Finding(
                rule={
                    "missing": VIDEO_FRAMES_MISSING,
                    "extra": VIDEO_FRAMES_EXTRA,
                    "rate": VIDEO_RATE_WRONG,
                }[of],
                path=video.path,
                stream=frames.spec.name,
                other=table.spec.topic or table.spec.name,
                evidence=evidence,
                count=count,
                values={"log": log.path, **values},
            )
        )

    have, want = len(frames), len(table)
    if have < want:
        evidence = f"{name} has {have} of the {want} frames of {where}: {want - have} are missing"
        say("missing", evidence, want - have, video_frames=have, table_frames=want)
    if have > want:
        evidence = f"{name} has {have} frames, {where} only {want}: {have - want} have no times"
        say("extra", evidence, have - want, video_frames=have, table_frames=want)
    own = frames.frames_per_s or _rates(frames.capture_ns)[0]
    median, mean = _rates(table.capture_ns)
    if _implausible(median) or _implausible(mean):
        median, mean = _rates(table.arrival_ns)
    if _differ(own, median) and _differ(own, mean):
        say(
            "rate",
            f"{name} says {own:.2f} frames/s, the times of {where} {median:.2f}: its "
            f"{have / own:.2f} s are {have / median:.2f} s in truth",
            have,
            video_hz=own,
            table_hz=median,
        )
    return found


def table_of(frames: StreamTrace, path: str, streams: Iterable[StreamTrace]) -> StreamTrace | None:
    """The stream that has a sample for each frame of a video; None where none can be it.

    Pictures, or a stream named for pictures or after the video, with half to twice as many samples
    as the video has frames; the best named, then the nearest in count. Or else, of a log with one
    topic, its one stream.
    """
    streams = [s for s in streams if s.spec.kind is not Kind.VIDEO or s is not frames]
    stem = PurePath(path).stem.lower()
    topics = {s.spec.topic or s.spec.name for s in streams}
    best: tuple[int, float, StreamTrace] | None = None
    for stream in streams:
        if not len(frames) / 2 <= len(stream) <= 2 * len(frames):
            continue
        words = f"{stream.spec.topic} {stream.spec.name}".lower()
        if stream.spec.kind in (Kind.IMAGE, Kind.VIDEO):
            fit = 3
        elif any(word in words for word in PICTURE_WORDS) or (len(stem) > 2 and stem in words):
            fit = 2
        elif len(topics) == 1:
            fit = 1
        else:
            continue
        near = -abs(float(np.log(len(stream) / len(frames))))
        if best is None or (fit, near) > best[:2]:
            best = (fit, near, stream)
    return best[2] if best else None


def pairs(videos: Iterable[str], logs: Iterable[str]) -> list[tuple[str, str]]:
    """Which video file belongs to which log: (video, log), by their paths.

    One with the same name but for the suffix, in the same folder; else, where a folder holds one
    video and one log, these.
    """
    files, others = [PurePath(video) for video in videos], [PurePath(log) for log in logs]
    found = []
    for video in files:
        beside = [log for log in others if log.parent == video.parent and log != video]
        same = [log for log in beside if log.stem.lower() == video.stem.lower()]
        alone = sum(other.parent == video.parent for other in files) == 1
        chosen = same or (beside if alone and len(beside) == 1 else [])
        found += [(str(video), str(log)) for log in chosen[:1]]
    return found


def _rates(times_ns: TimesNs) -> tuple[float, float]:
    """Rate by the median interval and over all, Hz; NaN where time does not pass."""
    steps = np.diff(times_ns)
    median = float(np.median(steps)) if len(steps) else 0.0
    span = float(times_ns[-1] - times_ns[0]) if len(times_ns) else 0.0
    return (
        NS_PER_S / median if median > 0 else float("nan"),
        len(steps) * NS_PER_S / span if span > 0 else float("nan"),
    )


def _implausible(rate: float) -> bool:
    return not 0.1 < rate < 2000


def _differ(rate: float, other: float) -> bool:
    return bool(abs(rate - other) > SAME_RATE * max(rate, other))


def _where(table: StreamTrace, log: EpisodeTrace) -> str:
    return f"'{table.spec.topic or table.spec.name}' in {PurePath(log.path).name}"

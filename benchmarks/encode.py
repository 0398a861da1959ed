"""Video for fast access against LeRobot's default: bytes on disk, likeness, and windows a second.

``python benchmarks/encode.py --json`` measures what viae's default costs in bytes, at equal or
better PSNR, on the same pictures: 640x480 of a real robot, and 96x96 of gym-pusht. ``--table``
prints the trade instead: group length by CRF by preset.

Both start from the same RGB pictures. LeRobot codes from PNG files, as it records, into one MP4 an
episode (AV1, a key frame every second frame, CRF 30, YUV 4:2:0); its bytes are those of the MP4
files. Ours are all of the store's table of video: packets, times and its own bookkeeping. Both
are then decoded to RGB by the same decoder; PSNR is over all pixels of all pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pusht_frames import RATE_HZ, pusht_frames
from roundtrip import LEROBOT, lerobot_python
from rows import Row
from viae import Kind, Store, StreamSpec
from viae.schema import Episode, Samples, VideoGroup
from viae.store import StoreWriter
from viae.video import Canvas, Converter, PictureView, decode_frames
from viae.video.decoder import Coding, GroupDecoder
from viae.video.encode import FastVideo, GroupEncoder, Stamp
from viae.video.recode import Recoder
from viae.video.recoding import Recoding

if TYPE_CHECKING:
    import av

DATA = Path(os.environ.get("VIAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
PEER = Path(__file__).with_name("lerobot_encode.py")
G1_HZ = 30
EPISODES, SEED = 20, 0
"""Of gym-pusht."""
BLOCK = 32
"""Pictures handed over at once."""
SECONDS = 0.4
"""Processor time of one measurement of speed."""
TABLE_PICTURES = 60
"""Of each of two episodes, for the table."""
GROUPS = (1, 2, 3, 5, 10, 15, 30)
CRFS = (14, 17, 20)
PRESETS = ("ultrafast", "veryfast", "medium", "slow")
LENGTHS = (1, 2, 8)
"""Pictures of a window, one apart."""

Pictures = npt.NDArray[np.uint8]
"""uint8 [N, H, W, 3] of one episode."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Set:
    """Pictures to code.

    Args:
        name: ``"96"`` or ``"640"``.
        rate_hz: pictures per second.
        episodes: an array each.
    """

    name: str
    rate_hz: int
    episodes: Sequence[Pictures]

    @property
    def frames(self) -> int:
        """Pictures in all."""
        return sum(map(len, self.episodes))


def sets() -> Iterator[Set]:
    """Those that can be had here; why not, of the others, on standard error."""
    try:
        yield Set(name="96", rate_hz=RATE_HZ, episodes=pusht_frames(EPISODES, SEED).pictures)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f"96x96: skipped: {error}", file=sys.stderr)
    movies = sorted((DATA / "g1_inspire_lerobot_v21").glob("videos/*/*/*.mp4"))
    if movies:
        yield Set(name="640", rate_hz=G1_HZ, episodes=[movie_pictures(path) for path in movies])
    else:
        print(f"640x480: skipped, no real logs at {DATA}; set VIAE_DATA", file=sys.stderr)


def movie_pictures(path: Path) -> Pictures:
    """All pictures of a movie as RGB."""
    import av

    with av.open(str(path)) as container:
        return rgb(container.decode(video=0))


def rgb(frames: Iterable[av.VideoFrame]) -> Pictures:
    """Pictures as every part of viae sees them."""
    converter, view = Converter(), PictureView()
    return np.stack([converter.picture(frame, view).transpose(1, 2, 0) for frame in frames])


def squared_error(read: Pictures, given: Pictures) -> float:
    """Sum over all pixels and channels."""
    return sum(
        float(np.square(one.astype(np.int32) - other).sum())
        for one, other in zip(read, given, strict=True)
    )


def psnr(error: float, numbers: int) -> float:
    """Peak signal-to-noise ratio, dB."""
    return float(10 * np.log10(255**2 * numbers / max(error, 1e-9)))


def lerobot(python: Path, pictures: Set, work: Path) -> tuple[int, float]:
    """Bytes of LeRobot's movies, and their PSNR, dB."""
    work.mkdir(parents=True, exist_ok=True)
    given, movies = work / "pictures.npz", work / "lerobot"
    np.savez(given, **{str(number): each for number, each in enumerate(pictures.episodes)})
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "SVT_LOG": "1"}
    subprocess.run(
        [str(python), str(PEER), str(given), str(movies), str(pictures.rate_hz)],
        check=True, capture_output=True, env=environment,
    )  # fmt: skip
    given.unlink()
    paths = [movies / f"{number}.mp4" for number in range(len(pictures.episodes))]
    error = sum(
        squared_error(movie_pictures(path), given)
        for path, given in zip(paths, pictures.episodes, strict=True)
    )
    nbytes = sum(path.stat().st_size for path in paths)
    return nbytes, psnr(error, sum(each.size for each in pictures.episodes))


def blocks(pictures: Pictures) -> Iterator[Samples]:
    """Pictures of an episode as a log has raw images."""
    spec = StreamSpec(
        name="camera", kind=Kind.IMAGE, dtype="uint8", shape=pictures.shape[1:], encoding="rgb8"
    )
    for start in range(0, len(pictures), BLOCK):
        part = pictures[start : start + BLOCK]
        seq = np.arange(start, start + len(part))
        times = seq * 100_000_000
        yield Samples(
            spec=spec, capture_ns=times, arrival_ns=times + 5_000_000, seq=seq,
            values=[pixels.tobytes() for pixels in part],
        )  # fmt: skip


def viae_store(pictures: Set, work: Path, coding: FastVideo) -> tuple[int, float]:
    """Bytes of the store's table of video, and its PSNR, dB."""
    store = Store.create(work / "store")
    writer = StoreWriter(store, now_ns=time.time_ns)
    for number, each in enumerate(pictures.episodes):
        draft = writer.begin(f"{number:04}")
        for group in Recoder(Recoding(images="video", coding=coding)).items(blocks(each)):
            draft.add(group)
        draft.finish(
            Episode(
                episode_id=f"{number:04}", log_uri="", log_hash=str(number), log_range="",
                log_format="made",
            )
        )  # fmt: skip
    writer.commit()
    store.compact()
    error = 0.0
    for number, each in enumerate(pictures.episodes):
        [groups] = store.video([f"{number:04}"], ["camera"]).values()
        error += squared_error(rgb(decode_frames(groups)), each)
    files = (path for path in (work / "store" / "video.lance").rglob("*") if path.is_file())
    nbytes = sum(path.stat().st_size for path in files)
    return nbytes, psnr(error, sum(each.size for each in pictures.episodes))


def bytes_ratio(work: Path) -> Iterator[Row]:
    """Bytes against LeRobot's, and both PSNRs; ``bytes`` is the worse of the two sets."""
    python = lerobot_python()
    if python is None:
        return
    ratios, gains, frames = [], [], 0
    for pictures in sets():
        theirs, their_psnr = lerobot(python, pictures, work / f"encode_{pictures.name}")
        ours, our_psnr = viae_store(pictures, work / f"encode_{pictures.name}", FastVideo())
        ratios.append(ours / theirs)
        gains.append(our_psnr - their_psnr)
        frames += pictures.frames
        for name, value, unit, peer in (
            ("bytes", ours / theirs, "ratio", LEROBOT),
            ("bytes_per_frame", ours / pictures.frames, "B", "viae"),
            ("bytes_per_frame_lerobot", theirs / pictures.frames, "B", LEROBOT),
            ("psnr", our_psnr, "dB", "viae"),
            ("psnr_lerobot", their_psnr, "dB", LEROBOT),
        ):
            yield Row(
                name=f"{name}_{pictures.name}", value=value, unit=unit, n=pictures.frames, peer=peer
            )
    if len(ratios) == 2:
        yield Row(
            name="bytes_psnr_gain", value=min(gains), unit="dB", target=">= 0", n=frames,
            peer=LEROBOT,
        )  # fmt: skip
        yield Row(
            name="bytes", value=max(ratios), unit="ratio", target="<= 2", n=frames, peer=LEROBOT
        )


def coded(pictures: Pictures, coding: FastVideo) -> list[VideoGroup]:
    """An episode as groups."""
    import av

    spec = StreamSpec(
        name="camera", kind=Kind.IMAGE, dtype="uint8", shape=pictures.shape[1:], encoding="rgb8"
    )
    encoder = GroupEncoder(spec, coding)
    groups: list[VideoGroup] = []
    for number, pixels in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        groups.extend(encoder.add(frame, Stamp(number, number, number)))
    groups.extend(encoder.finish())
    return groups


def windows_per_s(episodes: Sequence[Sequence[VideoGroup]], group: int, length: int) -> float:
    """Windows of adjacent pictures at random places, decoded to RGB: a second of one core."""
    random = np.random.default_rng(0)
    decoder, converter, view = GroupDecoder(), Converter(), PictureView()
    codings = [Coding("h264", groups[0].extradata, in_order=True) for groups in episodes]
    counts = [sum(map(len, groups)) for groups in episodes]
    height, width, _ = episodes[0][0].spec.shape
    canvas = Canvas(np.empty((length, 3, height, width), np.uint8))
    done, start = 0, time.process_time()
    while time.process_time() - start < SECONDS:
        for _ in range(16):
            which = int(random.integers(len(episodes)))
            first = int(random.integers(counts[which] - length + 1))
            place = 0
            for number in range(first // group, (first + length - 1) // group + 1):
                packets = episodes[which][number].packets
                begin = max(first - number * group, 0)
                wanted = range(begin, min(first + length - number * group, len(packets)))
                for _, frame in decoder.frames(codings[which], packets, wanted):
                    converter.into(frame, view, canvas, place)
                    place += 1
            assert place == length
            done += 1
    return done / (time.process_time() - start)


def table(work: Path) -> Iterator[dict[str, Any]]:
    """What group length, CRF and preset trade; before it, LeRobot's default on the same."""
    python = lerobot_python()
    for whole in sets():
        few = [each[:TABLE_PICTURES] for each in whole.episodes[:2]]
        pictures = Set(name=whole.name, rate_hz=whole.rate_hz, episodes=few)
        theirs = lerobot(python, pictures, work / f"table_{whole.name}") if python else None
        if theirs:
            yield {
                "set": whole.name, "coding": LEROBOT, "psnr_db": theirs[1],
                "bytes_per_frame": theirs[0] / pictures.frames,
            }  # fmt: skip
        codings = [FastVideo(group=group, crf=crf) for group in GROUPS for crf in CRFS]
        codings += [FastVideo(preset=preset) for preset in PRESETS]
        for coding in codings:
            start = time.process_time()
            episodes = [coded(each, coding) for each in few]
            took_s = time.process_time() - start
            nbytes = sum(len(p) for groups in episodes for group in groups for p in group.packets)
            error = sum(
                squared_error(rgb(decode_frames(groups)), each)
                for groups, each in zip(episodes, few, strict=True)
            )
            yield {
                "set": whole.name, **coding.to_json(),
                "bytes_per_frame": nbytes / pictures.frames,
                "ratio": nbytes / theirs[0] if theirs else None,
                "psnr_db": psnr(error, sum(each.size for each in few)),
                "coded_per_s": pictures.frames / took_s,
                **{
                    f"windows_per_s_{length}": windows_per_s(episodes, coding.group, length)
                    for length in LENGTHS
                },
            }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--table", action="store_true", help="the trade, one JSON object a line")
    parser.add_argument("--work", type=Path, help="folder to keep; default: a temporary one")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.table:
            for line in table(work):
                print(json.dumps(line), flush=True)
            return
        for row in bytes_ratio(work):
            row.print(as_json=arguments.json)


if __name__ == "__main__":
    main()

"""Videos made for tests: moving shapes, coded in the ways that logs have them."""

from fractions import Fraction

import av
import numpy as np

from viae.schema import Kind, StreamSpec, VideoGroup

LOSSLESS = {"crf": "0"}


def moving(n, height=32, width=48, seed=0):
    """A square that wanders over noise: uint8 [n, H, W, 3]."""
    random = np.random.default_rng(seed)
    back = random.integers(0, 80, (height, width, 3))
    frames = np.repeat(back[None], n, axis=0).astype(np.uint8)
    for i in range(n):
        y, x = (3 * i + seed) % (height - 7), (5 * i) % (width - 7)
        frames[i, y : y + 8, x : x + 8] = (i * 7) % 256
    return frames


def groups(frames, times_ns, *, group=4, b_frames=0, codec="h264", name="camera"):
    """The groups of pictures of a video: coded by x264, cut at its key frames."""
    height, width = frames.shape[1:3]
    encoder = av.CodecContext.create({"h264": "libx264"}.get(codec, codec), "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.gop_size = group
    if codec == "h264":
        encoder.options = {
            "crf": "18", "preset": "ultrafast" if not b_frames else "veryfast",
            "x264-params": f"keyint={group}:min-keyint={group}:scenecut=0:open-gop=0:"
            f"bframes={b_frames}:b-adapt=0",
        }  # fmt: skip
    packets = []
    for i, pixels in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        picture.pts = i
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    spec = StreamSpec(
        name=name, kind=Kind.VIDEO, dtype="uint8", shape=(height, width, 3), encoding=codec
    )
    starts = [i for i, packet in enumerate(packets) if packet.is_keyframe]
    found = []
    for start, stop in zip(starts, [*starts[1:], len(packets)], strict=True):
        at = np.asarray(times_ns[start:stop], np.int64)
        found.append(
            VideoGroup(
                spec=spec,
                extradata=bytes(encoder.extradata or b""),
                packets=tuple(bytes(packet) for packet in packets[start:stop]),
                pts=np.array([packet.pts for packet in packets[start:stop]], np.int64),
                time_base=(1, 30),
                capture_ns=at,
                arrival_ns=at,
                seq=np.arange(start, stop, dtype=np.int64),
            )
        )
    return found

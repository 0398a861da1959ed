"""Run by LeRobot's own Python, without viae: pictures to movies, by LeRobot's defaults.

``python lerobot_encode.py PICTURES.npz FOLDER RATE`` writes ``FOLDER/NAME.mp4`` for each array,
uint8 [N, H, W, 3], of the file.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image


def main(pictures: str, folder: str, rate_hz: int) -> None:
    """Code every array as LeRobot codes an episode: from PNG files, with its default options."""
    os.environ["SVT_LOG"] = "1"
    from lerobot.datasets.video_utils import encode_video_frames

    Path(folder).mkdir(parents=True, exist_ok=True)
    with np.load(pictures) as found:
        for name in found.files:
            with tempfile.TemporaryDirectory() as temporary:
                for number, pixels in enumerate(found[name]):
                    path = Path(temporary) / f"frame-{number:06d}.png"
                    Image.fromarray(pixels).save(path, compress_level=1)
                encode_video_frames(temporary, Path(folder) / f"{name}.mp4", rate_hz)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

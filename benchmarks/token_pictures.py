"""Pictures of tokens for the documents: ``python benchmarks/token_pictures.py FOLDER OUT``.

FOLDER is the ``--work`` of ``image_tokens.py``, with the tokenizers that it trained.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from image_tokens import g1, held_out_pictures, pusht, trained
from viae.model.tokens.show import show
from viae.model.tokens.spending import look_at, spend

SCALE = 3


def main(work: Path, out: Path) -> None:
    """Of each set, a picture of a held-out episode of median cost, and the most costly one."""
    out.mkdir(parents=True, exist_ok=True)
    for name, make in (("g1", g1), ("pusht", pusht)):
        folder = work / "image_tokens" / name
        data = make(folder)
        codec = trained(data, folder, 8).codec
        _, pictures = next(held_out_pictures(data))
        spent = spend(codec, pictures, look_at(codec.painter, pictures))
        later = np.arange(1, len(pictures))
        ranked = later[np.argsort(spent.tokens[later], kind="stable")]
        for what, at in (("usual", ranked[len(ranked) // 2]), ("most", ranked[-1])):
            path = out / f"tokens-{name}-{what}.png"
            Image.fromarray(show(codec, pictures, int(at), scale=SCALE, spent=spent)).save(path)
            dense = codec.painter.config.patches
            print(f"{path}: picture {at}, {spent.tokens[at]} tokens; dense: {dense}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Small RLDS datasets, written without TensorFlow."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from viae.logs.rlds.example import example_class
from viae.logs.rlds.tfrecord import masked_crc


def write_rlds(
    root: Path,
    *,
    episodes: int = 3,
    steps: int = 5,
    declared: int | None = None,
    control_hz: float | None = 10.0,
    features: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Path:
    """Write a dataset of one shard: state, image, action, reward, instruction, metadata.

    Args:
        root: the version folder.
        episodes: how many records.
        steps: of each.
        declared: records that ``dataset_info.json`` declares; None for as many as there are.
        control_hz: what the metadata states; None for nothing.
        features: more features of a step, by name, as features.json has them.
        values: what records store for them, by the full name; the same in each.
    """
    root.mkdir(parents=True)
    n = episodes if declared is None else declared
    split = {"name": "train", "shardLengths": [str(n)], "numBytes": "0"}
    info = {"name": "toy", "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
    (root / "dataset_info.json").write_text(json.dumps(info))
    (root / "features.json").write_text(json.dumps(_features(features or {})))
    if control_hz is not None:
        (root / "metadata.json").write_text(json.dumps({"control_hz": control_hz}))
    records = [example(_values(e, steps) | dict(values or {})) for e in range(episodes)]
    write_tfrecord(root / "toy-train.tfrecord-00000-of-00001", records)
    return root


def write_tfrecord(path: Path, records: Sequence[bytes]) -> None:
    """Write records with their lengths and checksums."""
    with path.open("wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(length + struct.pack("<I", masked_crc(length)))
            file.write(record + struct.pack("<I", masked_crc(record)))


def example(values: Mapping[str, Any]) -> bytes:
    """A tf.train.Example: arrays of floats or integers, lists of byte strings."""
    message = example_class()()
    for name, value in values.items():
        feature = message.features.feature[name]
        if isinstance(value, list):
            feature.bytes_list.value.extend(value)
        elif value.dtype.kind == "f":
            feature.float_list.value.extend(value.ravel().tolist())
        else:
            feature.int64_list.value.extend(value.ravel().astype(np.int64).tolist())
    return bytes(message.SerializeToString(deterministic=True))


def tensor(dtype: str, *shape: int, encoding: str = "none") -> dict[str, Any]:
    """A tensor's entry in features.json."""
    return {
        "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
        "tensor": {
            "shape": {"dimensions": [str(n) for n in shape]}, "dtype": dtype, "encoding": encoding,
        },
    }  # fmt: skip


def text() -> dict[str, Any]:
    """A text's entry in features.json."""
    return {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}


def image_bytes(seed: int, *, format_: str = "JPEG", size: tuple[int, int] = (8, 6)) -> bytes:
    """A coded image of noise, width and height given."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format_)
    return data.getvalue()


def _values(episode: int, steps: int) -> dict[str, Any]:
    rng = np.random.default_rng(episode)
    index = np.arange(steps)
    return {
        "steps/observation/state": rng.standard_normal((steps, 3)).astype(np.float32),
        "steps/observation/image": [image_bytes(100 * episode + k) for k in range(steps)],
        "steps/action": rng.standard_normal((steps, 2)).astype(np.float32),
        "steps/reward": (index == steps - 1).astype(np.float32),
        "steps/is_first": index == 0,
        "steps/is_last": index == steps - 1,
        "steps/language_instruction": [b"push the block"] * steps,
        "episode_metadata/file_path": [f"/made/{episode}.npy".encode()],
        "episode_metadata/episode_id": np.array([episode]),
    }


def _features(more: Mapping[str, Any]) -> dict[str, Any]:
    image = {
        "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
        "image": {"shape": {"dimensions": ["6", "8", "3"]}, "dtype": "uint8"},
    }
    observation = _dict({"state": tensor("float32", 3), "image": image})
    step = {
        "observation": observation,
        "action": tensor("float32", 2),
        "reward": tensor("float32"),
        "is_first": tensor("bool"),
        "is_last": tensor("bool"),
        "language_instruction": text(),
        **more,
    }
    steps = {
        "pythonClassName": "tensorflow_datasets.core.features.dataset_feature.Dataset",
        "sequence": {"feature": _dict(step), "length": "-1"},
    }
    metadata = _dict({"file_path": text(), "episode_id": tensor("int32")})
    return _dict({"steps": steps, "episode_metadata": metadata})


def _dict(features: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": dict(features)},
    }

"""The figures of sequence and load: order, windows a second, bytes, memory, resuming.

``python benchmarks/load.py --json`` prints one object a line; ``--only NAME[,NAME…]`` prints some.
What is made for them (frames, stores, other loaders' forms) is kept where ``--work`` says.
"""

from __future__ import annotations

from driver import main

FIGURES = {
    "lerobot_96_w1": "load_rates:lerobot_96_w1",
    "lerobot_96_w2": "load_rates:lerobot_96_w2",
    "lerobot_640_w1": "load_rates:lerobot_640_w1",
    "lerobot_640_w2": "load_rates:lerobot_640_w2",
    "cache_96": "load_rates:cache_96",
    "decode_limit_96": "load_rates:decode_limit_96",
    "decode_limit_640": "load_rates:decode_limit_640",
    "lance": "load_rates:peers",
    "mosaic": "load_rates:peers",
    "webdataset": "load_rates:peers",
    "bytes": "encode:bytes_ratio",
    "memory_gb": "load_memory:memory",
    "memory_growth": "load_memory:memory",
    "core_scaling": "load_rates:core_scaling",
    "three_cameras_640": "load_rates:three_cameras_640",
    "resume": "load_resume:resume",
    "order_msps": "order:order_msps",
    "order_memory_gb": "order_log:order_memory_gb",
    "s3_ratio": "object_store:s3_ratio",
    "lerobot_items_equal": "lerobot_dropin:lerobot_items",
    "lerobot_train_equal": "lerobot_dropin:lerobot_train",
    "stats_mvalues_s": "stats:stats_seconds",
}
SHARED = {
    name: "load"
    for name, where in FIGURES.items()
    if where.startswith(("load_", "encode:", "object_store:"))
}
"""Figures whose frames are the same work in the same folder."""
NEED_DATA = frozenset(
    {
        "lerobot_640_w1", "lerobot_640_w2", "decode_limit_640", "lance", "mosaic", "webdataset",
        "memory_gb", "memory_growth", "core_scaling", "three_cameras_640",
    }
)  # fmt: skip

if __name__ == "__main__":
    main(FIGURES, description=__doc__, need_data=NEED_DATA, folders=SHARED)

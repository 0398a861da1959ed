"""Reports as HTML files that need nothing beside them."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError


def jpeg(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture uint8 [H, W, 3] as an address that holds its own data."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def write_page(out: Path, template: str, **shown: Any) -> Path:
    """Write a page; it appears whole or not at all.

    Args:
        out: the HTML file.
        template: name of the template among the verbs; `page.html.jinja` has the head.
        shown: what the template shows.

    Raises:
        UsageError: it cannot be written.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    rooms = files("viae.verbs")
    loader = FunctionLoader(lambda name: rooms.joinpath(name).read_text(encoding="utf-8"))
    pages = Environment(autoescape=True, undefined=StrictUndefined, loader=loader)
    text = pages.get_template(template).render(**shown)
    partial = out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out}: this cannot be written: {error}") from error
    return out

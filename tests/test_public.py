"""What `import viae` gives, and what it leaves alone."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import viae
from viae import errors

HEAVY = {
    "torch", "lance", "duckdb", "av", "foxglove", "rich", "sklearn", "scipy", "PIL", "mcap",
    "safetensors", "typer", "matplotlib", "jinja2", "gymnasium", "mujoco", "metaworld",
}  # fmt: skip


def loaded_after(code):
    """The names in ``sys.modules`` of a fresh interpreter after some code."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )  # fmt: skip
    return set(done.stdout.split())


def test_importing_viae_loads_nothing_heavy():
    assert loaded_after("import viae; dir(viae); viae.__version__; viae.ViaeError").isdisjoint(
        HEAVY
    )


def test_the_schema_needs_numpy_and_arrow_only():
    loaded = loaded_after("import viae; viae.StreamSpec, viae.Episode, viae.WindowSpec")
    assert loaded.isdisjoint(HEAVY)


def test_all_is_exact_and_every_name_resolves():
    assert viae.__all__ == sorted(viae.__all__)
    assert set(viae.__all__) == {*viae._HOME, "__version__"}
    assert dir(viae) == sorted(viae.__all__)
    for name in viae.__all__:
        assert getattr(viae, name) is not None
    namespace = {}
    exec("from viae import *", namespace)
    assert set(viae.__all__) <= set(namespace)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(viae.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.name: node.module
        for node in block.body
        for alias in node.names
    }  # fmt: skip
    home = dict(viae._HOME)
    home["verbs"] = "viae"
    assert imported == home


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match="module 'viae' has no attribute 'resample'"):
        viae.resample  # noqa: B018 (the look-up is the test)


@pytest.mark.parametrize(
    "room",
    [
        "act", "evaluate", "load", "logs", "model", "schema", "select", "sequence", "store",
        "train", "trust", "verbs", "worlds",
    ],
)  # fmt: skip
def test_every_room_exports_what_it_says(room):
    module = __import__(f"viae.{room}", fromlist=["__all__"])
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), name


def drawn_tree():
    """Each error in the docstring with its parent and the built-in it also is."""
    found, ancestors = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^ {4}([│├└─ ]*)(\w+Error)(?: \((\w+)\))?", line)
        if match:
            depth = len(match[1]) // 4
            ancestors[depth:] = [match[2]]
            found[match[2]] = (ancestors[depth - 1] if depth else None, match[3])
    return found


def test_the_error_tree_is_as_drawn():
    classes = {
        name: each
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, Exception)
    }
    as_drawn = drawn_tree()
    assert as_drawn.keys() == classes.keys()
    for name, (parent, builtin) in as_drawn.items():
        bases = [base.__name__ for base in classes[name].__bases__]
        if parent is None:
            assert bases == ["Exception"]
        else:
            assert bases == [parent, *([builtin] if builtin else [])], name

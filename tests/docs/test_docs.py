"""Every Python block of the documents runs, and every command in them exists.

The ```python blocks of a document run in order, in one namespace, in an empty folder; a fence
``python no-run`` is only compiled. In ```bash blocks every ``viae …`` must parse.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import viae.cli.commands  # noqa: F401 (importing it adds all commands)
from viae.cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"(?:(?:\$|time|\w+=[^\0]*)\0)*(?:python\0-m\0)?viae\0(.*)", re.DOTALL)
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def blocks(document: Path, *languages: str) -> list[tuple[int, str, str]]:
    """Line number, rest of the fence and text of every block in one of the languages."""
    text = document.read_text()
    return [
        (text.count("\n", 0, found.start(4)), found[3].strip(), found[4])
        for found in FENCE.finditer(text)
        if found[2] in languages
    ]


def calls_of_viae(script: str) -> list[list[str]]:
    """What follows ``viae`` in every simple command of a script that calls it."""
    calls = []
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|&;<>"):
                words.append(word)
                continue
            if found := CALL.fullmatch("\0".join(words)):
                calls.append(found[1].split("\0"))
            words = []
    return calls


@every_document
def test_python_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, fence, text in blocks(document, "python"):
        code = compile("\n" * line + text, document, "exec")
        if "no-run" not in fence:
            exec(code, namespace)


@every_document
def test_commands_parse(document: Path):
    for line, _, text in blocks(document, "bash", "sh", "console"):
        for words in calls_of_viae(text):
            parse(words, f"{document.name}:{line + 1}: viae {' '.join(words)}")


def parse(words: list[str], where: str) -> None:
    if "--help" in words:
        words = [word for word in words if word != "--help"]
        assert words == [] or words[0] in COMMANDS, where
        return
    assert words[0] in COMMANDS, where
    try:
        COMMANDS[words[0]].make_context(words[0], words[1:])
    except Exception as error:  # typer's own copy of click has errors of its own
        pytest.fail(f"{where}: {error}")


def test_this_test_sees_commands():
    script = (
        "viae ls --store x  # all\n$ VIAE_STORE=y viae ingest a \\\n  b | head > out.txt; cd viae\n"
    )
    assert calls_of_viae(script) == [["ls", "--store", "x"], ["ingest", "a", "b"]]
    script = "viae query \"SELECT 'a|b' FROM x WHERE a > 1\""
    assert calls_of_viae(script) == [["query", "SELECT 'a|b' FROM x WHERE a > 1"]]
    with pytest.raises(pytest.fail.Exception, match=r"here: .*--stor"):
        parse(["ls", "--stor", "x"], "here")

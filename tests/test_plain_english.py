"""Documents, docstrings, descriptions and messages are plain English: short sentences, none of the forbidden words."""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_WORDS = 40
SAY = {
    r"tells?|telling|told|knows|says": "states, records, reads or reports; of nuclei, separates",
    r"to be had": "available",
    r"(is|are) there(?= ?[.,;:)]|$)": "exists",
    r"[Aa]s of|[Ll]ikewise": "see X, or the same as X",
    r"there (is|are|was) nothing": "returns an empty prediction, or what is empty",
    r"in small": "overview image",
    r"answer(s|ed|ing)?": "tile predictions, HTTP responses",
    r"[Rr]efusals?": "errors",
    r"hand(s|ed|ing)? on": "use, run or apply",
}
"""Words that the project does not use, as patterns, and what it says in their place."""
FORBIDDEN = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in SAY))
NAMES = re.compile(r"(?i)(^|_)(opening|refusals?|answers?|utils|helpers)(_|$)")
"""Names that modules, classes and functions do not have."""
LAYOUT = re.compile(r"^ *(\S.*\S   +\S|>>>|\.\.\. ).*$", re.MULTILINE)
"""Lines of docstrings that are columns or examples."""


def blocks(text: str) -> Iterator[str]:
    """Paragraphs, items, headings and cells of Markdown, without code, comments and the targets of links."""
    for pattern, instead in (
        (r"<!--.*?-->", ""),
        (r"^( *)```.*?^\1```", "\n\n"),
        (r"!?\[([^\]]*)\]\([^)]*\)", r"\1"),
        (r"`[^`]*`", "CODE"),
        (r"</?[a-z][^>]*>", "\n\n"),
    ):
        text = re.sub(pattern, instead, text, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|\n(?=\s*[|#])|(?<=\|)\n", text):
        cells = block.split("|") if block.lstrip().startswith("|") else [block]
        yield from (" ".join(cell.split()) for cell in cells)


def of_docstring(text: str) -> str:
    """A docstring whose arguments, errors and columns stand apart."""
    text = re.sub(r"^(\s*)(Args|Raises|Returns|Yields):$", r"\n\2.\n", LAYOUT.sub("\n\n", text), flags=re.MULTILINE)
    return re.sub(r"^( {4,}\*{0,2}[\w., ]+(?: \([^)\n]*\))?: )", r"\n\n\1", text, flags=re.MULTILINE)


def of_python(path: Path) -> Iterator[str]:
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "=>" not in node.value:
            yield of_docstring(node.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")


def of_config(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name.startswith("_desc_") and isinstance(value, str):
                yield value
            else:
                yield from of_config(value)
    elif isinstance(part, list):
        for value in part:
            yield from of_config(value)


def faults(path: Path, texts: Iterator[str]) -> Iterator[str]:
    for text in (block for whole in texts for block in blocks(whole)):
        for found in FORBIDDEN.finditer(text):
            around = text[max(0, found.start() - 40) : found.end() + 40]
            yield f"{path.relative_to(REPOSITORY)}: {found.group()!r} in ...{around}..."
        for sentence in re.split(r"(?<=[.!?])[)*\"]*\s+(?=[A-Z(*\"0-9])", text):
            words = [word for word in sentence.split() if re.search(r"\w", word)]
            if len(words) > MOST_WORDS:
                yield f"{path.relative_to(REPOSITORY)}: {len(words)} words: {sentence}"


def test_the_check_finds_what_it_is_for() -> None:
    here = REPOSITORY / "README.md"
    assert list(faults(here, iter(["The file records `it tells` and states it.\n\n| told | [x](as of y) |"]))) == [
        "README.md: 'told' in ...told..."
    ]
    long = "word " * 40
    assert list(faults(here, iter([f"{long}. Then {long}.", f"- {long}\n- {long}", f"```\ntold {long * 2}\n```"]))) == [
        f"README.md: 41 words: Then {long}.".replace(" .", " .")
    ]
    for text in ("No file is to be had.", "Likewise here.", "The map in small.", "where one is there.", "it knows"):
        assert len(list(faults(here, iter([text])))) == 1, text


@pytest.mark.parametrize("folder", [".", "docs", "bundle"])
def test_documents_are_plain_english(folder: str) -> None:
    paths = (REPOSITORY / folder).glob("*.md") if folder == "." else (REPOSITORY / folder).rglob("*.md")
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(paths)}
    found = [fault for path, text in texts.items() for fault in faults(path, iter([text]))]
    assert not found, "\n".join(found)


def test_descriptions_of_settings_are_plain_english() -> None:
    configs = {p: json.loads(p.read_text(encoding="utf-8")) for p in sorted((REPOSITORY / "bundle").rglob("*.json"))}
    found = [fault for path, config in configs.items() for fault in faults(path, of_config(config))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", ["monch_monai", "scripts", "benchmarks"])
def test_docstrings_comments_and_messages_are_plain_english(folder: str) -> None:
    paths = sorted((REPOSITORY / folder).rglob("*.py"))
    found = [fault for path in paths for fault in faults(path, of_python(path))]
    assert not found, "\n".join(found)


def test_names_are_those_of_the_glossary() -> None:
    paths = sorted((REPOSITORY / "monch_monai").rglob("*.py"))
    names = {path.stem for path in paths}
    for path in paths:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert [name for name in sorted(names) if NAMES.search(name)] == []

"""The README's list of rooms and files by the first sentence of each docstring; `python scripts/house.py` writes it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (
    ("errors",),
    ("files",),
    ("wheels", "download", "arguments", "settings", "device", "class_table", "tissues", "ops"),
    ("geometry", "encoders", "losses", "metrics", "overlay"),
    ("stain", "nuclei", "networks", "legend"),
    ("data", "predict"),
    ("datasets", "slides", "baselines"),
    ("segmentation",),
    ("writers",),
    ("cohort", "handlers"),
    ("runs", "report", "segmented"),
    ("label", "viewer", "model"),
    ("__main__",),
)
"""Rooms of the package from the ground up: each imports only from floors beneath its own."""
BEGIN, END = "<!-- rooms: python scripts/house.py -->\n", "<!-- end of rooms -->\n"


def sentence(path: Path) -> str:
    """First sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = re.split(r"\.(?=\s+[A-Z`]|\s*$)|\n\n", text, maxsplit=1)[0]
    return " ".join(first.split()).rstrip(".:")


def lines() -> Iterator[str]:
    """Lines of Markdown: floors from the top, their rooms, and the files of each room."""
    for number, rooms in reversed(list(enumerate(FLOORS))):
        yield f"\n**Floor {number}**\n\n"
        for room in rooms:
            folder = ROOT / "monch_monai" / room
            if not folder.is_dir():
                yield f"- `{room}.py` {sentence(folder.with_suffix('.py'))}\n"
                continue
            yield f"- `{room}/` {sentence(folder / '__init__.py')}\n"
            for path in sorted(folder.rglob("*.py")):
                if path.name != "__init__.py" or path.parent != folder:
                    name = path.relative_to(folder).as_posix().removesuffix("__init__.py")
                    yield f"    - `{name}` {sentence(path)}\n"


def updated(readme: str) -> str:
    """The README's text with the list as the code has it."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + "".join(lines()) + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")

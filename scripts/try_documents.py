"""Runs the commands of the documents: `python scripts/try_documents.py [DOCUMENT …] [--slide FILE] [--limit SECONDS]`.

Each document has a scratch copy of the repository of its own, with `IMAGES`, a folder of a picture, and `SLIDES`, a
folder of a slide; its blocks of bash run there in order. A comment before a block states how:

    <!-- not run: REASON -->      it is left out
    <!-- runs for N s -->         it serves, and is stopped after N seconds
    <!-- runs in FOLDER -->       FOLDER of the copy is the current one
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SLIDE = "CMU-1-Small-Region"
"""Name of the slide in the tutorials."""
BLOCK = re.compile(r"^(?:<!-- *([^\n]*?) *-->\n)?( *)```bash\n(.*?)^\2```$", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"not run: (?P<reason>.+)|runs for (?P<seconds>\d+) s|runs in (?P<folder>\S+)")


class Block(NamedTuple):
    """A block of bash.

    Attributes:
        line: where it begins in its document, from 1.
        text: its commands.
        reason: why it is not run; empty where it is.
        seconds: after which it is stopped; 0 where it ends.
        folder: in which it runs, from the top of the repository.
    """

    line: int
    text: str
    reason: str = ""
    seconds: int = 0
    folder: str = "."


def documents() -> list[Path]:
    """Documents with commands."""
    patterns = ("*.md", "docs/**/*.md", "bundle/docs/*.md", "bundle/models/*.md")
    return [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def blocks(document: str) -> list[Block]:
    """The blocks of bash of a document's text.

    Raises:
        ValueError: a comment that begins as one of the marks do is none of them.
    """
    found = []
    for match in BLOCK.finditer(document):
        comment, line = match[1] or "", document[: match.start(3)].count("\n") + 1
        mark = MARK.fullmatch(comment)
        if mark is None and re.match(r"not run|runs\b", comment):
            raise ValueError(
                f"line {line}: {comment!r} is no mark; write 'not run: REASON', 'runs for N s' or 'runs in X'"
            )
        marks = mark.groupdict() if mark else {}
        found.append(
            Block(line, match[3], marks.get("reason") or "", int(marks.get("seconds") or 0), marks.get("folder") or ".")
        )
    return found


def copy(folder: Path, slide: Path | None) -> None:
    """Copies what git tracks, and makes `IMAGES` and `SLIDES`."""
    import numpy as np
    import tifffile

    from monch_monai.datasets.synthetic import synthetic_tile

    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    made = synthetic_tile(np.random.default_rng(0), 640, 120).image
    pixels_per_cm = (40_000, 40_000)  # 0.25 µm/px
    (folder / "IMAGES").mkdir()
    tifffile.imwrite(folder / "IMAGES" / "field.tif", made, resolution=pixels_per_cm, resolutionunit="CENTIMETER")
    (folder / "SLIDES").mkdir()
    for name in ("IMAGES", "SLIDES"):
        (folder / "bundle" / name).symlink_to(folder / name)
    if slide is not None:
        shutil.copy(slide, folder / "SLIDES" / f"{SLIDE}{slide.suffix}")
        return
    target = folder / "SLIDES" / f"{SLIDE}.tif"
    tifffile.imwrite(target, made, tile=(256, 256), resolution=pixels_per_cm, resolutionunit="CENTIMETER")


def outcome(block: Block, folder: Path, limit: int) -> str:
    """Runs a block; returns what went wrong, empty where nothing did."""
    with (folder / ".output").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=folder / block.folder, env={**os.environ, "PYTHONPATH": str(folder)},
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code, stopped = process.wait(block.seconds or limit), False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code, stopped = process.wait(), True
        output.seek(0)
        tail = "".join(f"    {line}" for line in output.readlines()[-15:])
    if stopped and not block.seconds:
        return f"not done after {limit} s\n{tail}"
    if not stopped and (code or block.seconds):
        return f"ended by itself with exit code {code}\n{tail}"
    return ""


def main() -> int:
    """Runs all blocks; returns how many failed."""
    parser = ArgumentParser(description="Runs the commands of the documents.")
    parser.add_argument("documents", nargs="*", type=Path, help="by default all")
    parser.add_argument("--slide", type=Path, help="slide in SLIDES; by default one is made by code")
    parser.add_argument("--limit", type=int, default=1800, help="seconds that a block may take")
    given = parser.parse_args()
    failed = 0
    for document in given.documents or documents():
        name = document.resolve().relative_to(ROOT)
        found = blocks(document.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as scratch:
            if any(not block.reason for block in found):
                copy(Path(scratch), given.slide)
            for block in found:
                start, problem = time.monotonic(), ""
                if not block.reason:
                    problem = outcome(block, Path(scratch), given.limit)
                state = f"left out: {block.reason}" if block.reason else problem or "ok"
                print(f"{name}:{block.line} {time.monotonic() - start:.0f} s {state}", flush=True)
                failed += bool(problem)
    return failed


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(1 if main() else 0)

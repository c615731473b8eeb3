"""Damaged files of every kind that MONCH reads, by hand: each ends in a result or in one line, within limits.

Readers run in processes of their own, which are ended after a minute and given 4 GiB; a share of the files goes through
the real commands, many at once.
"""

import multiprocessing as mp
import os
import random
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz_commands import BYTES, SECONDS, Case, by_commands, contents, damaged
from benchmarks.fuzz_files import write_valid
from benchmarks.networks import CONFIGS
from monch_monai.files import remove

SHARES = {
    "slide": 36, "image": 26, "geojson": 10, "annotations": 8, "table": 8, "map": 5, "checkpoint": 4, "outlines": 3,
}  # fmt: skip
"""How many of a hundred files are of each kind."""
FINE = ("result", "one line")


def print_fuzz(
    count: int = 2000, commands: int = 4, seed: int = 0, checkpoint: Path | None = None, kinds: str = ""
) -> None:
    """Prints how reading `count` damaged files ended, and `commands` runs of the real commands on others.

    Exits with 1 where a reading ended otherwise than in a result or an `InputError` of one line, or left a file.

    Args:
        count: files that are read in processes of their own.
        commands: runs of each real command, of 25 slides, 40 images, or one GeoJSON file or checkpoint.
        seed: of the damage; each case depends on it and its number alone.
        checkpoint: weights; those of the bundle by default.
        kinds: of files, with commas between; all by default.
    """
    weights = (checkpoint or CONFIGS.parent / "models/model.pt").resolve()
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        valid = write_valid(folder / "valid", weights)
        chosen = {kind: SHARES[kind] for kind in (kinds.split(",") if kinds else SHARES)}
        order = random.Random(seed).choices(list(chosen), list(chosen.values()), k=count)
        cases = [*_in_processes(folder, valid, order, seed)]
        for number in range(commands):
            cases += by_commands(folder / f"commands{number}", valid, f"{seed} {number}", weights)
    rows = Counter((case.kind, case.ended) for case in cases)
    for (kind, ended), times in sorted(rows.items()):
        print(f"{kind:28} {ended:12} {times}")
    bad = [case for case in cases if case.ended not in FINE]
    for case in dict.fromkeys(bad):  # a command has one for many files
        print(f"\n{case.kind} {case.number} ({case.how}): {case.ended}\n{case.message}")
    print(f"{len(cases)} files, {len(bad)} ended otherwise than in a result or one line")
    if bad:
        sys.exit(1)


def _in_processes(folder: Path, valid: dict[str, list[Path]], order: list[str], seed: int) -> list[Case]:
    """Reads damaged files one after another in a process, which is begun anew when it dies or takes too long."""
    cases: list[Case] = []
    worker = _Worker(folder, valid["checkpoint"][0])
    for kind in dict.fromkeys(order):
        for path in (path for path in valid[kind] if path.is_file()):
            if (ended := worker.read(kind, path)) != ("result", ""):
                raise RuntimeError(f"{path} is to be valid, and ended so: {ended}")
    worker.end()
    worker = None
    for number, kind in enumerate(order):
        work = folder / "work"
        work.mkdir(exist_ok=True)
        for left in work.iterdir():  # the folder itself stays: it is the reader's working directory
            remove(left)
        rng = random.Random(f"{seed} {number}")
        path, how = damaged(work / "in", valid, kind, rng)
        before = contents(work)
        if worker is None:
            worker = _Worker(work, valid["checkpoint"][0])
        try:
            ended, message = worker.read(kind, path)
        except (EOFError, TimeoutError) as error:
            ended, message = ("hang", "") if isinstance(error, TimeoutError) else ("crash", "the process died")
            worker.end()
            worker = None
        if contents(work) != before:
            ended, message = "stray file", str(sorted(contents(work).items() ^ before.items()))
        cases.append(Case(kind, number, how, ended, message))
    if worker is not None:
        worker.end()
    return cases


class _Worker:
    """A process that reads files."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        context = mp.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, folder, checkpoint), daemon=True)
        self.process.start()
        other.close()
        self.pipe.recv()  # ready

    def read(self, kind: str, path: Path) -> tuple[str, str]:
        self.pipe.send((kind, path))
        if not self.pipe.poll(SECONDS):
            raise TimeoutError
        answer: tuple[str, str] = self.pipe.recv()
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(pipe: Any, folder: Path, checkpoint: Path) -> None:
    """Reads each file that the pipe names, and sends how that ended."""
    from monch_monai.errors import InputError

    doors = _doors(checkpoint)
    os.chdir(folder)
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + BYTES, own + BYTES))
    pipe.send("ready")
    while True:
        kind, path = pipe.recv()
        try:
            doors[kind](path)
            ended = "result", ""
        except InputError as error:
            text = str(error)
            ended = ("one line", text) if "\n" not in text and len(text) < 2000 else ("long message", text)
            if "MemoryError" in text or "Unable to allocate" in text:
                ended = "memory", text
        except MemoryError:
            ended = "memory", traceback.format_exc(limit=-8)
        except Exception:
            ended = "traceback", traceback.format_exc(limit=-8)
        pipe.send(ended)


def _doors(checkpoint: Path) -> dict[str, Callable[[Path], object]]:
    """What reads each kind of file."""
    from monch_monai.class_table import PANNUKE, find_class_table
    from monch_monai.class_table.words_file import read_wording
    from monch_monai.data.images import read_class_map, read_rgb
    from monch_monai.datasets.aperio import read_regions
    from monch_monai.datasets.label_maps import read_map
    from monch_monai.datasets.type_table import read_type_table
    from monch_monai.encoders import ClipResNet50
    from monch_monai.label.annotations import read_annotations
    from monch_monai.networks import Monch, load_checkpoint
    from monch_monai.predict import Prediction
    from monch_monai.segmentation import nucleus_finder
    from monch_monai.slides import ImageSlide, grid_of, open_slide, overview, read_working, tissue_and_lightening
    from monch_monai.stain import DEFAULT_RULE

    network = Monch(ClipResNet50())
    load_checkpoint(network, checkpoint)
    tissue = np.random.default_rng(0).integers(90, 250, (320, 320, 3)).astype(np.uint8)

    def slide(path: Path) -> None:
        with closing(open_slide(path, 0.25)) as opened:
            grid = grid_of(opened)
            tissue_and_lightening(opened, grid, (0.3, 0.6, 0.3), DEFAULT_RULE)
            overview(opened, max(1.0, max(opened.size) / 2000))
            for box in list(grid.box.squares(256))[:3]:
                assert read_working(opened, grid, box).shape == (box.height, box.width, 3)

    def geojson(path: Path) -> None:
        finder, slide = nucleus_finder(path), ImageSlide(tissue, 0.25, "tissue.png")
        grid = grid_of(slide)
        finder.added_tissue(slide, grid)
        finder.part(grid.box, grid)(Prediction.empty(320, 320, 6), grid.box, grid.box, grid)

    def table(path: Path) -> None:
        if path.suffix == ".csv":
            read_type_table(path, PANNUKE)
        else:
            (read_wording(path, PANNUKE) if path.stem == "words" else find_class_table(path))

    def one_map(path: Path) -> None:
        read_class_map(path, 6) if "classes" in path.name else read_map(path, 65_535)

    return {
        "slide": slide,
        "image": read_rgb,
        "geojson": geojson,
        "annotations": lambda path: read_annotations(path, PANNUKE),
        "table": table,
        "map": one_map,
        "checkpoint": lambda path: load_checkpoint(network, path),
        "outlines": read_regions,
    }

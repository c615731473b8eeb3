"""Damaged files of every kind that MONCH reads, by hand: each ends in a result or in one line, within limits.

Readers run in processes of their own, which are ended after a minute and given 4 GiB; a share of the files goes through
the real commands, many at once.
"""

import json
import multiprocessing as mp
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fuzz_files import damage, write_valid
from benchmarks.networks import CONFIGS

SECONDS, BYTES = 60, 4 << 30
SHARES = {
    "slide": 36, "image": 26, "geojson": 10, "annotations": 8, "table": 8, "map": 5, "checkpoint": 4, "outlines": 3,
}  # fmt: skip
"""How many of a hundred files are of each kind."""
FINE = ("result", "one line")


class Case(NamedTuple):
    """A damaged file, by its number, and how its reading ended."""

    kind: str
    number: int
    how: str
    ended: str
    message: str


def print_fuzz(count: int = 2000, commands: int = 4, seed: int = 0, checkpoint: str = "", kinds: str = "") -> None:
    """Prints how reading `count` damaged files ended, and `commands` runs of the real commands on others.

    Exits with 1 where a reading ended otherwise than in a result or an `InputError` of one line, or left a file.

    Args:
        count: files that are read in processes of their own.
        commands: runs of each real command, of 25 slides, 40 images, or one GeoJSON file or checkpoint.
        seed: of the damage; each case depends on it and its number alone.
        checkpoint: weights; those of the bundle by default.
        kinds: of files, with commas between; all by default.
    """
    weights = Path(checkpoint or CONFIGS.parent / "models/model.pt").resolve()
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        valid = write_valid(folder / "valid", weights)
        chosen = {kind: SHARES[kind] for kind in (kinds.split(",") if kinds else SHARES)}
        order = random.Random(seed).choices(list(chosen), list(chosen.values()), k=count)
        cases = [*_in_processes(folder, valid, order, seed)]
        for number in range(commands):
            cases += _by_commands(folder / f"commands{number}", valid, f"{seed} {number}", weights)
    rows = Counter((case.kind, case.ended) for case in cases)
    for (kind, ended), times in sorted(rows.items()):
        print(f"{kind:28} {ended:12} {times}")
    bad = [case for case in cases if case.ended not in FINE]
    for case in bad:
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
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        rng = random.Random(f"{seed} {number}")
        path, how = _damaged(work / "in", valid, kind, rng)
        before = _contents(work)
        if worker is None:
            worker = _Worker(work, valid["checkpoint"][0])
        try:
            ended, message = worker.read(kind, path)
        except (EOFError, TimeoutError) as error:
            ended, message = ("hang", "") if isinstance(error, TimeoutError) else ("crash", "the process died")
            worker.end()
            worker = None
        if _contents(work) != before:
            ended, message = "stray file", str(sorted(_contents(work).items() ^ before.items()))
        cases.append(Case(kind, number, how, ended, message))
    if worker is not None:
        worker.end()
    return cases


def _damaged(folder: Path, valid: dict[str, list[Path]], kind: str, rng: random.Random) -> tuple[Path, str]:
    """A copy of a valid file in a folder, damaged; and how."""
    folder.mkdir(parents=True, exist_ok=True)
    source = rng.choice([path for path in valid[kind] if path.is_file()])
    for beside in (source, source.with_suffix("")):
        if beside.is_dir():
            shutil.copytree(beside, folder / beside.name)
        elif beside.exists():
            shutil.copy(beside, folder / beside.name)
    others = [path for paths in valid.values() for path in paths if path.is_file() and path.stat().st_size < 1 << 20]
    return folder / source.name, damage(folder / source.name, rng, others)


def _contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


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
    from monch_monai.geometry import Mpp, Size, working_grid
    from monch_monai.label.annotations import read_annotations
    from monch_monai.networks import Monch, load_checkpoint
    from monch_monai.predict import Prediction
    from monch_monai.segmentation import nucleus_finder
    from monch_monai.slides import grid_of, open_slide, overview, read_working, tissue_and_lightening
    from monch_monai.stain import DEFAULT_RULE

    network = Monch(ClipResNet50())
    load_checkpoint(network, checkpoint)

    def slide(path: Path) -> None:
        with closing(open_slide(path, 0.25)) as opened:
            grid = grid_of(opened)
            tissue_and_lightening(opened, grid, (0.3, 0.6, 0.3), DEFAULT_RULE)
            overview(opened, max(1.0, max(opened.size) / 2000))
            for box in list(grid.box.squares(256))[:3]:
                assert read_working(opened, grid, box).shape == (box.height, box.width, 3)

    def geojson(path: Path) -> None:
        finder, grid = nucleus_finder(path), working_grid(Size(320, 320), Mpp(0.25, 0.25))
        finder.added_tissue(grid)
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


def _by_commands(folder: Path, valid: dict[str, list[Path]], seed: str, checkpoint: Path) -> list[Case]:
    """One run of each command: damaged slides, images, a GeoJSON file of nuclei, a checkpoint."""
    rng, cases = random.Random(seed), []
    for kind, number, config in (("slide", 25, "inference_wsi"), ("image", 40, "inference")):
        hows = []
        for i in range(number):
            path, how = _damaged(folder / kind / "one", valid, kind, rng)
            for part in sorted(path.parent.iterdir()):
                part.rename(folder / kind / part.name.replace(path.stem, f"{i:02}_{path.stem}"))
            hows.append(f"{i:02}_{how}")
        (folder / kind / "one").rmdir()
        options = {"dataset_dir": folder / kind, "checkpoint": checkpoint} | ({"mpp": 0.25} if kind == "slide" else {})
        cases += [_command(folder, kind, i, how, config, options) for i, how in [(number, "; ".join(hows))]] * number
    slide = valid["slide"][0]
    path, how = _damaged(folder / "geojson", valid, "geojson", rng)
    options = {"dataset_dir": slide, "checkpoint": checkpoint, "nuclei": path}
    cases.append(_command(folder, "geojson", 0, how, "inference_wsi", options))
    path, how = _damaged(folder / "checkpoint", valid, "checkpoint", rng)
    options = {"dataset_dir": valid["image"][0], "checkpoint": path}
    cases.append(_command(folder, "checkpoint", 0, how, "inference", options))
    return cases


def _command(folder: Path, kind: str, number: int, how: str, config: str, options: dict[str, Any]) -> Case:
    """Runs a bundle's config in an empty folder, and looks at how that ended and at what it left."""
    here, out = folder / f"{kind}_here", folder / f"{kind}_out"
    for path in (here / "tmp", here / "home"):
        path.mkdir(parents=True)
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIGS / f"{config}.json")]
    command += ["--bundle_root", str(CONFIGS.parent), "--output_dir", str(out), *given]
    root = str(CONFIGS.parents[1])
    environment = {**os.environ, "TMPDIR": str(here / "tmp"), "HOME": str(here / "home"), "PYTHONPATH": root}
    before, begun = _contents(folder), time.monotonic()
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    took = time.monotonic() - begun
    text = done.stdout + done.stderr
    stray = sorted(set(_contents(folder)) - set(before) - set(_contents(out)))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    ended = "result" if done.returncode == 0 else "one line"
    if "Traceback" in text or done.returncode not in (0, 1):
        ended = "traceback"
    elif took > SECONDS * max(2, number):
        ended = "hang"
    elif peak > BYTES:
        ended = "memory"
    elif stray:
        ended, text = "stray file", json.dumps(stray)
    return Case(f"{kind}, by {config}", number, how, ended, text[-6000:])

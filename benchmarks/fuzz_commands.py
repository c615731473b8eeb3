"""Damaged files through the real commands, and how that ended."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fuzz_files import damage
from benchmarks.networks import CONFIGS

SECONDS, BYTES, STANDSTILL = 60, 4 << 30, 3600
"""What reading one file may take, and the seconds of the clock after which a command is ended."""


class Case(NamedTuple):
    """A damaged file, by its number, and how its reading ended."""

    kind: str
    number: int
    how: str
    ended: str
    message: str


def damaged(folder: Path, valid: dict[str, list[Path]], kind: str, rng: random.Random) -> tuple[Path, str]:
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


def contents(folder: Path) -> dict[str, int]:
    """Size of each file beneath a folder, by path."""
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def by_commands(folder: Path, valid: dict[str, list[Path]], seed: str, checkpoint: Path) -> list[Case]:
    """One run of each command: damaged slides, images, a GeoJSON file of nuclei, a checkpoint."""
    rng, cases = random.Random(seed), []
    for kind, number, config in (("slide", 25, "inference_wsi"), ("image", 40, "inference")):
        hows = []
        for i in range(number):
            path, how = damaged(folder / kind / "one", valid, kind, rng)
            for part in sorted(path.parent.iterdir()):
                part.rename(folder / kind / part.name.replace(path.stem, f"{i:02}_{path.stem}"))
            hows.append(f"{i:02}_{how}")
        (folder / kind / "one").rmdir()
        options = {"dataset_dir": folder / kind, "checkpoint": checkpoint} | ({"mpp": 0.25} if kind == "slide" else {})
        cases += [_command(folder, kind, i, how, config, options) for i, how in [(number, "; ".join(hows))]] * number
    slide = valid["slide"][0]
    path, how = damaged(folder / "geojson", valid, "geojson", rng)
    options = {"dataset_dir": slide, "checkpoint": checkpoint, "nuclei": path}
    cases.append(_command(folder, "geojson", 0, how, "inference_wsi", options))
    path, how = damaged(folder / "checkpoint", valid, "checkpoint", rng)
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
    environment = {
        **os.environ,
        "TMPDIR": str(here / "tmp"),
        "HOME": str(here / "home"),
        "MPLCONFIGDIR": str(folder.parent / "matplotlib"),
        "PYTHONPATH": root,
    }
    before, begun, largest = contents(folder), _seconds(), _most_bytes()
    try:
        done = subprocess.run(
            command, cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=STANDSTILL
        )
    except subprocess.TimeoutExpired:
        return Case(f"{kind}, by {config}", number, how, "hang", "")
    took = _seconds() - begun  # not of the clock, which others on the machine delay
    text = done.stdout + done.stderr
    stray = sorted(set(contents(folder)) - set(before) - set(contents(out)))
    ended = "result" if done.returncode == 0 else "one line"
    if "Traceback" in text or done.returncode not in (0, 1):
        ended = "traceback"
    elif took > SECONDS * max(2, number):
        ended = "hang"
    elif _most_bytes() > max(BYTES, largest):
        ended = "memory"
    elif stray:
        ended, text = "stray file", json.dumps(stray)
    return Case(f"{kind}, by {config}", number, how, ended, text[-6000:])


def _most_bytes() -> int:
    """The largest memory that a command which has ended held."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _seconds() -> float:
    """Processor time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

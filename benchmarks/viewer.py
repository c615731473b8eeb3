"""The viewer on a large slide made by code, in headless Chromium: first picture, frames of a pan, memory."""

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import tifffile
from PIL import Image

from benchmarks import measurement
from benchmarks.measurement import print_head, print_row
from monch_monai.class_table import PANNUKE
from monch_monai.geometry import Mpp, Size, working_grid
from monch_monai.segmentation.nuclei_table import table
from monch_monai.writers import ParquetFile, Source, provenance

TILE, MPP, CORNERS = 512, 0.25, 24
SCALES = {"whole slide": None, "dots": 0.06, "small outlines": 0.16, "outlines": 0.6, "at 100 %": 1.0}
"""Places of pans: px of the page for one of level 0."""
READY = "state.table && state.outlines && !state.outlines.fetching && !state.outlines.wanted.length"
PICTURE = "view.world.getItemAt(0)?.getFullyLoaded()"
PAN = """async ([scale, frames]) => {
  if (scale) goTo({x: state.about.size[0] / 2, y: state.about.size[1] / 2, scale}, true);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const step = view.viewport.getBounds().width / 60, times = [];
  let last = await new Promise(requestAnimationFrame);
  for (let i = 0; i < frames; i++) {
    view.viewport.panBy(new OpenSeadragon.Point(step * (i % 120 < 60 ? 1 : -1), step / 3), true);
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}"""


def print_viewer(nuclei: int = 500_000, side: int = 60_000, frames: int = 240) -> None:
    """Prints seconds to the first picture and to all outlines, milliseconds of a pan's frames, and memory.

    Args:
        nuclei: made by code, all over the slide.
        side: of the slide, px.
        frames: of each pan.
    """
    from playwright.sync_api import sync_playwright  # of requirements-dev.txt; the other benchmarks do without

    browser_file = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    made = f"{nuclei} nuclei on {side}x{side} px; a busy process has {free_share():.0%} of a core here"
    print(f"{measurement.conditions('cpu')}; {made}\n")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_result(Path(folder), nuclei, side)
        os.environ["XDG_CACHE_HOME"] = folder
        server, address = serve(Path(folder) / "out")
        with playwright.chromium.launch(executable_path=browser_file, args=["--no-sandbox"]) as browser:
            print_head("opened", "first picture (s)", "all outlines and counts (s)")
            for name in ("first, index made", "again"):
                page = browser.new_page(viewport={"width": 1400, "height": 880})
                start = time.perf_counter()
                page.goto(address)
                seconds = []
                for condition in (PICTURE, READY):
                    page.wait_for_function(f"() => {condition}", timeout=300_000)
                    seconds.append(time.perf_counter() - start)
                print_row(name, *(f"{each:.2f}" for each in seconds))
            print()
            print_head("pan", "median ms/frame", "worst ms/frame", "of a processor, ms/frame")
            for name, scale in SCALES.items():
                used = processor_seconds()
                times = page.evaluate(PAN, [scale, frames])
                share = (processor_seconds() - used) / frames
                print_row(name, f"{statistics.median(times):.1f}", f"{max(times):.1f}", f"{share * 1e3:.1f}")
            heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii").splitlines()
        sizes = {
            line.split(":")[0]: int(line.split()[1]) / 1024 for line in status if line.startswith(("Rss", "VmHWM"))
        }
        index = sum(file.stat().st_size for file in Path(folder, "monch").rglob("*.npy")) / 2**20
        print(f"\nserver at most {sizes['VmHWM']:.0f} MiB (then {sizes['RssAnon']:.0f} of its own), ", end="")
        print(f"page {heap:.0f} MiB of JavaScript, index {index:.0f} MiB on disk")
        server.terminate()
        server.wait()


def processor_seconds() -> float:
    """Processor time that this process and those beneath it, browser and server, have used."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        parents[int(stat.parent.name)], ticks[int(stat.parent.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    own = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks.get(pid, 0) for pid in own) / os.sysconf("SC_CLK_TCK")


def free_share(seconds: float = 2.0) -> float:
    """Processor time of a busy second: less than 1 where others use the machine, and all times are longer then."""
    start, used = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        pass
    return (time.process_time() - used) / (time.perf_counter() - start)


def serve(out: Path) -> tuple[subprocess.Popen[str], str]:
    """The viewer of a folder, as a process, and its address."""
    command = [sys.executable, "-m", "monch_monai", "view", str(out), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    line = server.stdout.readline() if server.stdout else ""
    return server, next(word for word in line.split() if word.startswith("http"))


def write_result(folder: Path, count: int, side: int) -> None:
    """What inference would write of a slide with nuclei all over, and the slide itself, in `folder`."""
    out = folder / "out" / "made"
    out.mkdir(parents=True)
    write_slide(folder / "made.tif", side)
    size, mpp = Size(side, side), Mpp(MPP, MPP)
    about = {"software": "MONCH", "slide": "made.tif", "source_mpp": [MPP, MPP], "origin_in_file": [0, 0]}
    about = provenance(about, PANNUKE, [])
    source = Source(Path("made.tif"), "0" * 64, size, mpp, working_grid(size, mpp), PANNUKE, about)
    with ParquetFile(out / "nuclei.parquet", source) as file:
        for nuclei in regions(count, side):
            file.add(nuclei)
    summary = {**about, "nuclei_total": count, "settings": {"tissue": None, "mpp": None}}
    (out / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    run = {"kind": "slides", "config": {"dataset_dir": str(folder / "made.tif")}}
    (out.parent / "run.json").write_text(json.dumps(run), encoding="utf-8")


def regions(count: int, side: int, at_once: int = 5000) -> Iterator[Any]:
    """Uneven outlines of `CORNERS` corners at random places, as `SCHEMA`."""
    draw = np.random.default_rng(0)
    angles = np.arange(CORNERS) * 2 * np.pi / CORNERS
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for first in range(0, count, at_once):
        n = min(at_once, count - first)
        places = draw.uniform(30, side - 30, (n, 2)).round(3)
        radii = draw.uniform(10, 18, (n, 1, 1)) * draw.uniform(0.9, 1.1, (n, CORNERS, 1))
        polygons: Any = shapely.polygons((places[:, None] + radii * circle).round(2))
        classes = draw.integers(1, len(PANNUKE), n).astype(np.uint8)
        probs = np.where(classes[:, None] == np.arange(1, len(PANNUKE)), draw.uniform(0.4, 1, (n, 1)), 0.1)
        yield table(classes, probs, places, shapely.area(polygons) * MPP**2, np.full(n, 0.9), list(polygons))


def write_slide(path: Path, side: int) -> None:
    """A pyramid of JPEG tiles that look like stained tissue, each level a quarter of the one before."""
    draw = np.random.default_rng(0)
    tiles = []
    for _ in range(8):
        small = draw.normal(0, 1, (TILE // 8, TILE // 8, 1)) * [18, 26, 14] + [205, 150, 190]
        picture = Image.fromarray(small.clip(0, 255).astype(np.uint8)).resize((TILE, TILE), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=80, subsampling=0)
        tiles.append(file.getvalue())
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        sides = [side]
        while sides[-1] > 2048:
            sides.append(-(-sides[-1] // 4))
        for level, width in enumerate(sides):
            resolution = 1e4 / MPP / 4**level
            count = (-(-width // TILE)) ** 2
            writer.write(
                (tiles[(i * 5 + i // 7) % len(tiles)] for i in range(count)),
                shape=(width, width, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="ycbcr", compression="jpeg",
                subsampling=(1, 1), resolution=(resolution, resolution), resolutionunit="CENTIMETER",
                subifds=len(sides) - 1 if level == 0 else None, subfiletype=int(level > 0), metadata=None,
            )  # fmt: skip

"""Slides: how fast, where the time goes, beside MONAI's sliding windows of HoVer-Net; memory by the slide's size."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from monai.apps.pathology.inferers import SlidingWindowHoVerNetInferer
from numpy.typing import NDArray

from benchmarks import measurement
from benchmarks.measurement import print_head, print_row
from benchmarks.networks import build_hovernet, build_network
from monch_monai.class_table import PANNUKE
from monch_monai.cohort import SlideSegmenter
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.geometry import WorkingBox
from monch_monai.networks import load_checkpoint
from monch_monai.predict import NetworkPredictor, Prediction
from monch_monai.segmentation import Workers
from monch_monai.settings import flag
from monch_monai.slides import grid_of, open_slide, read_working
from monch_monai.stain import DEFAULT_RULE

IN, OUT = 256, 164
"""Sides of the tiles that HoVer-Net in fast mode sees, and of its predictions, px."""


def print_slide(
    slide: str | Path = "",
    device: str = "",
    side: int = 1024,
    x: int = 0,
    y: int = 0,
    checkpoint: str | Path = "",
    beside: bool | str = True,
) -> None:
    """Prints mm² of tissue a minute and the shares of reading, network and nuclei, beside MONAI's HoVer-Net inferer.

    Args:
        slide: a slide to cut a square from; synthetic tissue when not given.
        device: cpu, cuda, …; cuda where there is one when not given.
        side: of the square, px at 0.25 µm/px.
        x: of the square's corner, px of level 0.
        y: of the square's corner, px of level 0.
        checkpoint: weights; random ones find few nuclei.
        beside: also HoVer-Net, which takes long on a CPU.
    """
    device = measurement.choose_device(device)
    pixels = _square(slide, side, x, y)
    network = build_network(device)
    if checkpoint:
        load_checkpoint(network, checkpoint)
    predictor = NetworkPredictor(network, device=device)
    mm2 = (side * 0.25e-3) ** 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "square.tif"
        write = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), metadata=None, **write)
        with SlideSegmenter(Path(folder) / "out", predictor) as segmenter:
            segmenter.pipeline.predictor(np.zeros((segmenter.tiling.batch_size, IN, IN, 3), np.uint8))  # warm-up
            start = time.perf_counter()
            summary = segmenter(path)
            measurement.synchronise(device)
            wall = time.perf_counter() - start
            seconds = segmenter.seconds
    found = summary["nuclei_total"]
    print(f"{measurement.conditions(device)}; {side}x{side} px at 0.25 µm/px, {mm2:.4f} mm²; {found} nuclei\n")
    print_head("", "s", "mm² of tissue/min", "reading", "network", "nuclei")
    total = seconds.reading + seconds.network + seconds.nuclei
    shares = [f"{part:.2f} s ({part / total:.1%})" for part in (seconds.reading, seconds.network, seconds.nuclei)]
    print_row("MONCH, slide to files", f"{wall:.1f}", f"{60 * mm2 / wall:.4f}", *shares)
    if flag("beside", beside):
        took = _hovernet(pixels, device)
        speed = f"{60 * mm2 / took:.4f}"
        print_row("HoVer-Net fast, by MONAI, network alone", f"{took:.1f}", speed, "", f"{took:.1f} s", "")
        print(f"\nMONCH's network to HoVer-Net's inferer, same pixels: {seconds.network / took:.3f} of the time")


def print_memory(sizes: tuple[int, ...] = (10_000, 40_000), region_size: int = 2048) -> None:
    """Prints peak memory for synthetic slides of these sides, a tenth of them tissue, with a stub for the network."""
    print_head("slide", "nuclei", "peak RSS, MiB", "of it the worker", "import, MiB", "s")
    peaks = []
    for size in sizes:
        command = [sys.executable, str(Path(__file__).with_name("run.py")), "slide_peak", str(size), str(region_size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        peaks.append(row["peak"] - row["worker"])
        measured = (f"{row[name]:.0f}" for name in ("nuclei", "peak", "worker", "start", "seconds"))
        print_row(f"{size}x{size}", *measured)
    print(f"\npeak of the last to the first, main process: {peaks[-1] / peaks[0]:.3f}")


def print_peak(size: int, region_size: int = 2048) -> None:
    """Segments one synthetic slide by a stub network and prints its peak memory as JSON: a step of slide_memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tif"
        write_large(path, size)
        start, began = measurement.restart_peak(), time.perf_counter()
        workers = Workers(region_size=region_size)
        with SlideSegmenter(Path(folder) / "out", Dark(), workers=workers, tissue=DEFAULT_RULE) as segmenter:
            summary = segmenter(path)
            assert segmenter.pipeline.processes is not None
            worker = segmenter.pipeline.processes.submit(measurement.status_mib, "VmHWM").result()
    found = {"nuclei": summary["nuclei_total"], "tissue_mm2": summary["tissue_mm2"]}
    took = {"peak": measurement.status_mib("VmHWM") + worker, "worker": worker, "start": start}
    print(json.dumps({**found, **took, "seconds": time.perf_counter() - began}))


class Dark:
    """A stub of a network: dark pixels are nuclei of the first class."""

    class_table = PANNUKE

    def __call__(self, tiles: NDArray[np.uint8]) -> Prediction:
        """Prediction `[B, H, W]` for RGB tiles `[B, H, W, 3]`."""
        class_map = (tiles[..., 1] < 100).astype(np.uint8)
        probs = np.zeros((len(tiles), len(self.class_table.nuclei), *class_map.shape[1:]), np.float16)
        probs[:, 0] = class_map
        return Prediction.of_classes(class_map, probs)


def write_large(path: Path, size: int, tile: int = 512) -> None:
    """A pyramid of `size` px, of which a tenth, a band, is tissue with 2500 nuclei per mm²."""
    tissue = np.full((tile, tile, 3), (232, 190, 214), np.uint8)
    per_side = round(np.sqrt(2500 * (tile * 0.25e-3) ** 2))
    from_centre = (np.mgrid[:tile, :tile] + 0.5) % (tile / per_side) - tile / per_side / 2
    tissue[np.square(from_centre).sum(axis=0) <= 13**2] = (120, 40, 140)
    glass = np.full_like(tissue, 243)

    def tiles(scale: int) -> Iterator[NDArray[np.uint8]]:
        count = -(-size // scale // tile)
        for row in range(count):
            places = (np.arange(row * tile, (row + 1) * tile) + 0.5) * scale / size
            stripe = np.where((abs(places - 0.5) < 0.05)[:, None, None], tissue, glass)
            yield from [stripe] * count

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level, scale in enumerate((1, 4, 16)):
            side = -(-size // scale)
            file.write(
                tiles(scale), shape=(side, side, 3), dtype=np.uint8, photometric="rgb", tile=(tile, tile),
                compression="zlib", subfiletype=int(level > 0), metadata=None,
                resolution=(40_000 / scale, 40_000 / scale), resolutionunit="CENTIMETER",
            )  # fmt: skip


def _square(slide: str, side: int, x: int, y: int) -> NDArray[np.uint8]:
    """Pixels `[side, side, 3]` at 0.25 µm/px: of a slide, at a place of its level 0, or of synthetic tissue."""
    if not slide:
        return synthetic_tile(np.random.default_rng(0), side).image
    opened = open_slide(slide)
    grid = grid_of(opened)
    place = WorkingBox(round(x / grid.per_level0[0]), round(y / grid.per_level0[1]), side, side)
    pixels = read_working(opened, grid, place)
    opened.close()
    return pixels


def _hovernet(pixels: NDArray[np.uint8], device: str) -> float:
    """Seconds of MONAI's sliding-window HoVer-Net inferer for an image."""
    network = build_hovernet().to(device).eval()
    inferer = SlidingWindowHoVerNetInferer(
        roi_size=(IN, IN), sw_batch_size=4, overlap=1 - OUT / IN, padding_mode="constant", progress=False,
        extra_input_padding=((IN - OUT) // 2,) * 4,
    )  # fmt: skip
    image: Any = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().to(device) / 255
    with torch.inference_mode():
        network(image[..., :IN, :IN])
        works = {"": lambda: inferer(image, network)}
        return measurement.milliseconds_in_turn(works, device, runs=1, warm_up=0)[""] / 1e3

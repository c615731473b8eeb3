"""Contour pictures of predictions beside the truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from monch_monai.data.images import write_picture
from monch_monai.data.readers import RGBReader
from monch_monai.handlers.items import gather_by_image
from monch_monai.overlay import draw_contours


class OverlaySheet:
    """Draws some tiles of each evaluation: a row a tile, with the image, the truth's contours, and the prediction's.

    The same tiles whatever the number of processes; the first process writes them.

    Args:
        folder: for the pictures, `overlay_EPOCH.png`.
        num_tiles: rows; the tiles are spread evenly over the set.
        summary_writer: TensorBoard's, for the sheet too; None for files only.
    """

    def __init__(self, folder: str | Path, num_tiles: int = 6, summary_writer: SummaryWriter | None = None) -> None:
        self.folder = Path(folder)
        self.num_tiles = num_tiles
        self.summary_writer = summary_writer
        self.rows: dict[str, NDArray[np.uint8]] = {}
        self.order: Iterator[int] = iter(())

    def attach(self, engine: Engine) -> None:
        """Registers with an evaluator of batches of one to many tiles."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Begins an empty sheet."""
        self.rows, loader = {}, engine.state.dataloader
        self.order = iter(getattr(loader, "sampler", range(len(loader.dataset))))

    def collect(self, engine: Engine) -> None:
        """Adds the chosen tiles of the batch."""
        total = len(engine.state.dataloader.dataset)
        chosen = set(np.linspace(0, total - 1, min(self.num_tiles, total)).round().astype(int).tolist())
        for item in engine.state.output:
            index = next(self.order)
            if index in chosen:
                self.rows[f"{index:012d}"] = _row(item)

    def write(self, engine: Engine) -> None:
        """Writes the sheet."""
        rows = gather_by_image(self.rows)
        if idist.get_rank() > 0:
            return
        sheet = np.concatenate(list(rows.values()))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_picture(self.folder / f"overlay_{engine.state.epoch:03d}.png", sheet)
        if self.summary_writer is not None:
            self.summary_writer.add_image("overlay", sheet, engine.state.epoch, dataformats="HWC")


def _row(item: dict[str, Any]) -> NDArray[np.uint8]:
    reader = RGBReader()
    image, _ = reader.get_data(reader.read(item["image"].meta["filename_or_obj"]))
    maps = [torch.as_tensor(item[key])[0].cpu().numpy().astype(np.uint8) for key in ("label", "pred")]
    gap = np.full((image.shape[0], 4, 3), 255, dtype=np.uint8)
    row = np.concatenate([image, gap, draw_contours(image, maps[0]), gap, draw_contours(image, maps[1])], axis=1)
    return np.concatenate([row, np.full((4, row.shape[1], 3), 255, dtype=np.uint8)])

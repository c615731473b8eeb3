"""Contour pictures of predictions beside the truth."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from monch_monai.class_table import LabelSets
from monch_monai.data.images import write_picture
from monch_monai.data.readers import RGBReader
from monch_monai.geometry import NETWORK_MPP
from monch_monai.handlers.items import ImageRecords, class_map_of, name_of
from monch_monai.legend import with_legend
from monch_monai.overlay import GAP, draw_contours, side_by_side


class OverlaySheet(ImageRecords[NDArray[np.uint8]]):
    """Draws some tiles of each evaluation: a row a tile, with the image, the truth's contours, and the prediction's.

    Beneath are a legend and a scale bar, of the 0.25 µm/px of prepared datasets. Rows of smaller tiles end in white.
    The same tiles whatever the number of processes. For an evaluator of batches of one to many tiles.

    Args:
        folder: for the pictures, `overlay_EPOCH.png`.
        labels: what the values of `label` stand for.
        num_tiles: rows; the tiles are spread evenly over the set.
        summary_writer: TensorBoard's, for the sheet too; None for files only.
    """

    def __init__(
        self, folder: str | Path, labels: LabelSets, num_tiles: int = 6, summary_writer: SummaryWriter | None = None
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.colors, self.class_table = labels.colors, labels.table
        self.num_tiles = num_tiles
        self.summary_writer = summary_writer
        self.order: Iterator[int] = iter(())

    def start(self, engine: Engine) -> None:
        """Begins an empty sheet."""
        super().start(engine)
        loader = engine.state.dataloader
        self.order = iter(getattr(loader, "sampler", range(len(loader.dataset))))

    def collect(self, engine: Engine) -> None:
        """Adds the chosen tiles of the batch."""
        total = len(engine.state.dataloader.dataset)
        chosen = set(np.linspace(0, total - 1, min(self.num_tiles, total)).round().astype(int).tolist())
        for item in engine.state.output:
            index = next(self.order)
            if index in chosen:
                self.records[f"{index:012d}"] = _row(item, self.colors)

    def write(self, engine: Engine) -> None:
        """Writes the sheet."""
        rows = list(self.records.values())
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
        sheet = with_legend(np.concatenate(padded), self.class_table, NETWORK_MPP)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_picture(self.folder / f"overlay_{engine.state.epoch:03d}.png", sheet)
        if self.summary_writer is not None:
            self.summary_writer.add_image("overlay", sheet, engine.state.epoch, dataformats="HWC")


def _row(item: dict[str, Any], colors: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    image, _ = RGBReader().get_data([name_of(item)])
    row = side_by_side(image, *(draw_contours(image, class_map_of(item, key), colors) for key in ("label", "pred")))
    return np.pad(row, ((0, GAP), (0, 0), (0, 0)), constant_values=255)

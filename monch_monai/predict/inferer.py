"""The lattice of tiles as a MONAI inferer, for images in memory."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import Inferer
from torch import Tensor, nn
from tqdm import tqdm

from monch_monai.geometry import TILE_SIZE, WorkingBox
from monch_monai.predict.engine_network import expect
from monch_monai.predict.lattice import Lattice, Tiling
from monch_monai.predict.precision import MixedPrecisionInferer
from monch_monai.predict.predictor import normalisation, tile_logits
from monch_monai.predict.stitching import paste, run_tiles


class LatticeInferer(Inferer):
    """Logits of whole images at the network's resolution, by the lattice of tiles that slides are segmented with.

    A batch of normalised images no larger than a tile, as a training's, runs as it is.

    Args:
        tile_size: as in `Tiling`.
        overlap: as in `Tiling`.
        sw_batch_size: tiles at once, MONAI's name for it.
        amp: as in `MixedPrecisionInferer`.
        normalise: whether images come as RGB of 0 to 255; else they come normalised.
        mean: as in `normalisation`.
        std: as in `normalisation`.
        progress: whether a bar shows the tiles of large images.

    Raises:
        InputError: a setting is no usable number, or neither true nor false.
    """

    def __init__(
        self,
        tile_size: int = TILE_SIZE,
        overlap: float = 0.25,
        sw_batch_size: int = 4,
        amp: bool | str = True,
        normalise: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        progress: bool = False,
    ) -> None:
        self.tiling = Tiling(tile_size, overlap, sw_batch_size)
        self.inferer = MixedPrecisionInferer(amp=amp)
        self.normalise, self.mean, self.std, self.progress = normalise, mean, std, progress

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Logits `[B, T, H, W]` float32 for images `[B, 3, H, W]`."""
        images = inputs.as_subclass(Tensor)

        def apply(tiles: Tensor) -> Tensor:
            return network(tiles, *args, **kwargs)

        def run(tiles: Tensor) -> Tensor:
            if not self.normalise:
                return self.inferer(tiles, apply)
            return tile_logits(tiles, apply, *normalisation(network, self.mean, self.std), self.inferer)

        if not self.normalise and max(images.shape[2:]) <= self.tiling.tile_size:
            return run(images)
        if isinstance(network, nn.Module):
            expect(network, sum(len(self._lattice(image).cells(_whole(image))) for image in images))
        stitched = [self._stitched(image, run)[None] for image in images]
        return stitched[0] if len(stitched) == 1 else torch.cat(stitched)

    def _lattice(self, image: Tensor) -> Lattice:
        return self.tiling.over(_whole(image))

    def _stitched(self, image: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        whole, lattice = _whole(image), self._lattice(image)
        width, height = (max(0, lattice.tile - side) for side in (whole.width, whole.height))
        padded = F.pad(image[None], (0, width, 0, height), mode="replicate")[0]
        cells = lattice.cells(whole)
        bar = tqdm(total=len(cells), unit="tile", leave=False, disable=not self.progress, mininterval=1)
        logits: Tensor | None = None
        for cell, tile in run_tiles(
            cells,
            lattice,
            lambda some: run(torch.stack([padded[(..., *lattice.window(cell).within(whole))] for cell in some])),
        ):
            if logits is None:
                logits = tile.new_empty(len(tile), whole.height, whole.width)
            paste(logits, whole, tile, lattice.window(cell), lattice.cell(cell))
            bar.update()
        bar.close()
        assert logits is not None  # noqa: S101 (an image has a tile)
        return logits


def _whole(image: Tensor) -> WorkingBox:
    """The box of an image `[3, H, W]`."""
    return WorkingBox(0, 0, image.shape[2], image.shape[1])

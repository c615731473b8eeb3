"""A few tiles of an evaluation with their nuclei, kept so that systems can be drawn side by side (Figs. 4 and 7)."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ignite.engine import Engine
from numpy.typing import NDArray

from monch_monai.class_table import LabelSets
from monch_monai.data import RGBReader, Tiles, read_instance_map
from monch_monai.files import write_atomically
from monch_monai.geometry import TILE_SIZE
from monch_monai.handlers.items import ImageRecords, class_map_of, name_of, probs_and_distance
from monch_monai.nuclei import WatershedNuclei

NUMBER = 8
COMPARED = "compared_tiles.npz"


class ComparedTile(NamedTuple):
    """A tile of at most `TILE_SIZE` px: `image [H, W, 3]`, and of truth and prediction classes and nuclei `[H, W]`.

    Classes of a prediction are those of its nuclei.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    true_nuclei: NDArray[np.int32]
    predicted: NDArray[np.uint8]
    nuclei: NDArray[np.int32]


class ComparedTiles(ImageRecords[ComparedTile]):
    """Keeps the tiles that `choose_tiles` names, as `compared_tiles.npz`, for `report.draw_compared`.

    For an evaluator of decollated items. Its batch has `instances` (reference of the true instance map); its output has
    `image`, class maps `pred` and `label`, and the probabilities `probs`, or `instance_map` of a system that finds its
    nuclei itself.

    Args:
        output_dir: folder of the evaluation.
        tiles: the prepared dataset.
        folds: those evaluated.
        watershed: finds the nuclei of class maps.
        labels: what the values of `label` stand for.
        number: of tiles.
    """

    def __init__(
        self,
        output_dir: str | Path,
        tiles: Tiles,
        folds: Sequence[str],
        watershed: WatershedNuclei,
        labels: LabelSets,
        number: int = NUMBER,
    ) -> None:
        super().__init__()
        self.path = Path(output_dir) / COMPARED
        self.chosen = choose_tiles(tiles, folds, number)
        self.watershed, self.labels = watershed, labels

    def collect(self, engine: Engine) -> None:
        """Keeps a batch's tiles where they are among those chosen."""
        for given, item in zip(engine.state.batch, engine.state.output, strict=True):
            if name_of(item) in self.chosen:
                self.records[name_of(item)] = self._record(given, item)

    def write(self, engine: Engine) -> None:
        """Writes the file: of the tile number N, in the order of the choice, `N_image` and the other maps by name."""
        kept = [name for name in self.chosen if name in self.records]
        arrays: dict[str, Any] = {"names": np.array([self.chosen[name] for name in kept]), "colors": self.labels.colors}
        for number, name in enumerate(kept):
            arrays |= {f"{number}_{what}": values for what, values in self.records[name]._asdict().items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, lambda part: np.savez_compressed(part, **arrays))

    def _record(self, given: dict[str, Any], item: dict[str, Any]) -> ComparedTile:
        predicted, truth = class_map_of(item, "pred"), class_map_of(item, "label")
        if "instance_map" in item:
            nuclei = torch.as_tensor(item["instance_map"])[0].cpu().numpy()
        else:
            found = self.watershed(predicted, *probs_and_distance(item))
            nuclei = found.instance_map
            predicted = np.append(np.uint8(0), found.classes)[nuclei]
        image, _ = RGBReader().get_data([name_of(item)])
        maps: tuple[NDArray[Any], ...] = (image, truth, read_instance_map(given["instances"]), predicted, nuclei)
        return ComparedTile(*(values[:TILE_SIZE, :TILE_SIZE] for values in maps))


def choose_tiles(tiles: Tiles, folds: Sequence[str], number: int = NUMBER) -> dict[str, str]:
    """Tiles to compare systems on, chosen by the truth alone, so that no system is favoured.

    Organs take turns, in the order of their names. Each gives its tile with the most classes, among these the one with
    the most nuclei, then its next. Tiles without nuclei are left out.

    Returns:
        reference of the image, as items name it, to organ and source in a phrase.
    """
    by_organ: dict[str, list[tuple[tuple[int, int], str, str]]] = defaultdict(list)
    for part, inner in tiles.parts(folds):
        for item, row in zip(part.items(inner), part.rows(inner), strict=True):
            counts = [int(row[f"{label}_nuclei"]) for label in part.vocabulary.names[1:]]
            if sum(counts):
                richness = (sum(n > 0 for n in counts), sum(counts))
                by_organ[row["tissue"]].append((richness, item["image"], f"{row['tissue']}, {row['source']}"))
    for found in by_organ.values():
        found.sort(key=lambda tile: (-tile[0][0], -tile[0][1], tile[1]))
    chosen: dict[str, str] = {}
    for turn in range(max(map(len, by_organ.values()), default=0)):
        for organ in sorted(by_organ):
            if turn < len(by_organ[organ]) and len(chosen) < number:
                chosen[by_organ[organ][turn][1]] = by_organ[organ][turn][2]
    return chosen

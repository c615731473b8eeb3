"""Compares a PanNuke source with PanNuke as published: in another order its channels would be wrong labels."""

import logging
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.datasets.inventory import Inventory, take_inventory
from monch_monai.datasets.pannuke.published import FOLDS
from monch_monai.datasets.pannuke.sources import find_folds
from monch_monai.errors import InputError

TOLERANCE = 0.05
"""Largest relative difference of a count of nuclei from the published one of the same class."""

logger = logging.getLogger(__name__)


def examine_source(source: str | Path) -> list[str]:
    """Findings about a source, a line each, from the same reading and the same checks as preparation. Writes nothing.

    Raises:
        InputError: see `find_folds`, `ArrayFold.tiles` and `examine_inventory`.
    """
    folds = {f"fold{number}": fold for number, fold in find_folds(source).items()}
    tiles = {name: fold.tiles() for name, fold in folds.items()}
    totals = {name: fold.count for name, fold in folds.items()}
    return examine_inventory(take_inventory(tiles, totals, Vocabulary.of_table(PANNUKE)))


def examine_inventory(inventory: Inventory) -> list[str]:
    """Findings about an inventory whose folds are named `fold1`, `fold2`, `fold3`, a line each.

    Raises:
        InputError: colour channels are swapped, or the classes have one another's published numbers of nuclei.
    """
    inventory.check_colors()
    lines = inventory.findings()
    for number, published in FOLDS.items():
        name = f"fold{number}"
        if name not in inventory.folds:
            effect = "splits that train or validate on it are left out, others have no test part"
            lines.append(f"{name} is missing: {effect}")
            continue
        tiles, nuclei, _ = inventory.of_fold(name)
        if tiles != published.tiles:
            lines.append(f"{name} is not the published one: {tiles:,} tiles in place of {published.tiles:,}")
            logger.warning("%s", lines[-1])
            continue
        found = nuclei[1 : len(PANNUKE.nuclei) + 1].tolist()
        if _alike(found, published.nuclei):
            lines.append(f"{name}: nuclei of each class are as published")
            continue
        for order in permutations(range(len(found))):
            if _alike([found[i] for i in order], published.nuclei):
                pairs = [(PANNUKE.nuclei[i], c) for i, c in zip(order, PANNUKE.nuclei, strict=True)]
                named = ", ".join(f"{found.name} is {c.name}" for found, c in pairs if found != c)
                raise InputError(f"{name}: by their numbers of nuclei the mask channels are in another order: {named}")
        lines.append(f"{name}: nuclei by class {found} are not the published {list(published.nuclei)}")
        logger.warning("%s", lines[-1])
    return lines


def _alike(found: list[int], published: Sequence[int]) -> bool:
    return all(abs(f - p) <= TOLERANCE * p for f, p in zip(found, published, strict=True))

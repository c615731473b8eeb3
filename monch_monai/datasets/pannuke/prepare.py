"""PanNuke as a prepared dataset, from the published zips, folders of arrays, or the parquet copy."""

import logging
from pathlib import Path

from monch_monai.class_table import PANNUKE, Vocabulary
from monch_monai.data.tiles import read_tiles
from monch_monai.data.writer import Fold, free_folder, write_tiles
from monch_monai.datasets.card import write_card
from monch_monai.datasets.inventory import take_inventory
from monch_monai.datasets.pannuke.examination import examine_inventory
from monch_monai.datasets.pannuke.published import ADDRESS, FOLDS, LICENSE, SPLITS
from monch_monai.datasets.pannuke.sources import find_folds
from monch_monai.download import fetch

logger = logging.getLogger(__name__)


def prepare_pannuke(source: str | Path, output_dir: str | Path) -> Path:
    """Writes PanNuke as a prepared dataset with folds `fold1` to `fold3`, the published splits 1 to 3, and a card.

    The same call resumes interrupted work. Of a source with fewer folds come the splits with training and validation.

    Args:
        source: a folder with the published zips, the folders in them, or the hub's parquet files; or one zip.
        output_dir: the folder to make.

    Raises:
        InputError: see `find_folds`, `ArrayFold.tiles`, `examine_inventory` and `write_tiles`.
    """
    free_folder(output_dir)
    folds = find_folds(source)
    here = {f"fold{number}" for number in folds}
    splits = {
        name: {part: members for part, members in parts.items() if set(members) <= here}
        for name, parts in SPLITS.items()
        if {*parts["train"], *parts["validation"]} <= here
    }
    if not splits:
        logger.warning("with %s alone no fold is left for validation: no split can be trained", *here)
    vocabulary = Vocabulary.of_table(PANNUKE)
    totals = {f"fold{number}": fold.count for number, fold in folds.items()}

    def finish(folder: Path) -> None:
        inventory = take_inventory({n: read_tiles(folder / n, PANNUKE.names) for n in sorted(here)}, totals, vocabulary)
        print(write_card(folder, inventory, "PanNuke", examine_inventory(inventory)))

    write_tiles(
        output_dir,
        {f"fold{number}": Fold(fold.count, fold.tiles) for number, fold in folds.items()},
        splits,
        finish,
        name="PanNuke",
        source=" | ".join(fold.identity for fold in folds.values()),
        license=LICENSE,
        labels="semi-automatic (Gamper et al., 2019); where two classes overlap, the later channel's",
    )
    logger.info("PanNuke written to %s", output_dir)
    return Path(output_dir)


def download_pannuke(source: str | Path, address: str = ADDRESS) -> None:
    """Fetches the published zips that the folder `source` lacks, resuming downloads, and checks their SHA-256.

    Raises:
        InputError: see `monch_monai.download.fetch`.
    """
    for number, published in FOLDS.items():
        name = f"fold_{number}.zip"
        fetch(f"{address}/{name}", Path(source) / name, published.archive_sha256)

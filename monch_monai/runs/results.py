"""Where a run's results are."""

import logging
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist

from monch_monai.errors import InputError
from monch_monai.handlers.checkpoints import BEST, HISTORY
from monch_monai.runs.folder_lock import unlock

logger = logging.getLogger(__name__)


def find_checkpoint(folders: Sequence[str | Path], shipped: str | Path) -> Path:
    """The newest `best.pt` in the first of `folders` that has one, itself or in a subfolder; else the shipped weights.

    Raises:
        InputError: neither `folders` have a `best.pt` nor does `shipped` exist.
    """
    for folder in map(Path, folders):
        found = [path for path in (folder / BEST, *folder.glob(f"*/{BEST}")) if path.is_file()]
        best = max(found, key=lambda path: path.stat().st_mtime, default=None)
        if best is not None:
            return best
    if Path(shipped).is_file():
        card = Path(shipped).with_name("card.md")
        limits = f"; {card} states their limits" if card.is_file() else ""
        logger.warning("no trained model of your own: using the bundle's weights %s%s", shipped, limits)
        return Path(shipped)
    looked = ", ".join(dict.fromkeys(map(str, folders)))
    raise InputError(f"no trained model: neither a {BEST} in {looked} nor {shipped}; train first, or give --checkpoint")


@idist.one_rank_only()
def training_results(output_dir: str | Path) -> None:
    """Logs, at a training's end, where the best checkpoint, the table of epochs and the newest contour picture are."""
    folder = Path(output_dir)
    overlays = sorted((folder / "overlays").glob("*.png"))
    unlock(folder)
    _announce(checkpoint=folder / BEST, metrics=folder / HISTORY, overlay=overlays[-1] if overlays else None)


@idist.one_rank_only()
def evaluation_results(output_dir: str | Path) -> None:
    """Logs, at an evaluation's end, where the scores, the contour picture and the report are."""
    folder = Path(output_dir)
    overlays = sorted(folder.glob("overlay_*.png"))
    overlay = overlays[-1] if overlays else None
    unlock(folder)
    _announce(metrics=folder / "scores.csv", overlay=overlay, report=folder / "report.html")


def _announce(**results: Path | None) -> None:
    for name, path in results.items():
        if path is not None and path.is_file():
            logger.info("%-10s %s", name, path)

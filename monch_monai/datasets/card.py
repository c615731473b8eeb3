"""The card of a prepared dataset: counts of its contents, as text and as pictures."""

from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.util import montage

from monch_monai.data.images import write_picture
from monch_monai.data.tiles import read_tiles
from monch_monai.datasets.inventory import Inventory
from monch_monai.files import write_atomically
from monch_monai.overlay import draw_contours

SHEET = 6
"""Rows and columns of the contact sheet."""
LARGEST = 256
"""Side of a picture in the contact sheet, in pixels; larger tiles are cut."""


def write_card(folder: Path, inventory: Inventory, title: str, findings: list[str], seed: int = 0) -> str:
    """Writes `card.md`, `tissue_by_class.png` and `contact_sheet.png` into a dataset's folder; returns the card's text.

    The findings are the lines of its last section; `seed` chooses the tiles of the contact sheet.
    """
    sections = [
        f"# {title}",
        "Nuclei of each class, and in brackets the share of all pixels that is theirs.",
        _table(inventory, "fold"),
        _table(inventory, "tissue"),
        "![nuclei by tissue and class](tissue_by_class.png)",
        "![tiles chosen at random](contact_sheet.png)",
        "## Found while preparing",
        "\n".join(f"- {line}" for line in findings),
    ]
    text = "\n\n".join(sections) + "\n"
    draw_distribution(folder / "tissue_by_class.png", inventory)
    write_picture(folder / "contact_sheet.png", contact_sheet(folder, inventory, seed))
    (folder / "card.md").write_text(text, encoding="utf-8")
    return text


def _table(inventory: Inventory, by: str) -> str:
    """Nuclei and share of pixels of each class, by fold or by tissue, in Markdown."""
    kinds = inventory.kinds
    names, of = (inventory.folds, inventory.of_fold) if by == "fold" else (inventory.tissues, inventory.of_tissue)
    tiles, nuclei, pixels = zip(*(of(name) for name in names), strict=True)
    rows = [*zip(names, tiles, nuclei, pixels, strict=True), ("all", sum(tiles), np.sum(nuclei, 0), np.sum(pixels, 0))]
    lines = [f"| {by} | tiles | " + " | ".join(kinds[1:]) + " | all nuclei |", "|---" * (len(kinds) + 2) + "|"]
    for name, count, of_class, area in rows:
        shares = area / max(1, area.sum())
        cells = [f"{n:,} ({share:.2%})" if n else "-" for n, share in zip(of_class[1:], shares[1:], strict=True)]
        lines.append(f"| {name} | {count:,} | " + " | ".join(cells) + f" | {of_class.sum():,} |")
    return "\n".join(lines)


def draw_distribution(path: Path, inventory: Inventory) -> None:
    """Draws nuclei by tissue and class as a map of numbers, the picture of the paper's Fig. 3."""
    tissues = inventory.tissues
    counts = np.stack([inventory.of_tissue(tissue)[1] for tissue in tissues])[:, 1:-1]
    figure = Figure(figsize=(7, 1.6 + 0.3 * len(tissues)), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(np.maximum(counts, 1), cmap="YlGnBu", norm=LogNorm(1, max(10, counts.max())), aspect="auto")
    axes.set_xticks(range(counts.shape[1]), inventory.vocabulary.names[1:])
    axes.set_yticks(range(len(tissues)), tissues)
    for (row, column), count in np.ndenumerate(counts):
        dark = count > np.sqrt(max(10, counts.max()))
        axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    figure.colorbar(picture, label="nuclei")
    write_atomically(path, lambda part: figure.savefig(part, dpi=150))


def contact_sheet(folder: Path, inventory: Inventory, seed: int = 0) -> NDArray[np.uint8]:
    """Tiles chosen at random from all folds, with the contours of their nuclei, `[rows, columns, 3]` uint8."""
    rng = np.random.default_rng(seed)
    places = [(fold, i) for fold in inventory.folds for i in range(inventory.of_fold(fold)[0])]
    chosen = sorted(rng.choice(len(places), min(SHEET * SHEET, len(places)), replace=False))
    wanted = {places[i] for i in chosen}
    rows = -(-len(chosen) // SHEET)
    cells = np.full((rows * SHEET, LARGEST + 4, LARGEST + 4, 3), 255, np.uint8)
    tiles = (
        (fold, i, tile)
        for fold in inventory.folds
        for i, tile in enumerate(read_tiles(folder / fold, inventory.vocabulary.names))
    )
    shown = (tile for fold, i, tile in tiles if (fold, i) in wanted)
    for cell, tile in zip(cells, shown, strict=False):
        picture = draw_contours(np.asarray(tile.image), np.asarray(tile.classes), inventory.vocabulary.colors)[
            :LARGEST, :LARGEST
        ]
        cell[: picture.shape[0], : picture.shape[1]] = picture
    sheet: NDArray[np.uint8] = montage(cells, fill=(255, 255, 255), grid_shape=(rows, SHEET), channel_axis=-1)
    return sheet

"""Folds in PanNuke's file formats, made from synthetic tiles: known answers in float64."""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from monch_monai.data import Tile
from monch_monai.datasets.synthetic import synthetic_tile
from monch_monai.tissues import TISSUES

MIRROR_TISSUES = [name.replace("_", " ").replace("-", " ").replace("HeadNeck", "Head & Neck") for name in TISSUES]
"""Spellings of the parquet copy."""


class FoldArrays(NamedTuple):
    """What `images.npy`, `masks.npy` and `types.npy` of a fold hold."""

    images: np.ndarray
    masks: np.ndarray
    types: np.ndarray


def make_fold(count: int, seed: int = 0) -> FoldArrays:
    """A fold of `count` tiles; ids are those of the tile's instance map, background is what no nucleus covers."""
    tiles = [synthetic_tile(np.random.default_rng([seed, i])) for i in range(count)]
    return fold_of(tiles, [TISSUES[i % len(TISSUES)] for i in range(count)])


def fold_of(tiles: Sequence[Tile], tissues: Sequence[str]) -> FoldArrays:
    """The fold of tiles of 256x256, each of a tissue; nuclei of class 255 are left out."""
    masks = np.zeros((len(tiles), 256, 256, 6))
    for i, tile in enumerate(tiles):
        for c in range(1, 6):
            masks[i, ..., c - 1] = np.where(tile.classes == c, tile.instances, 0)
        masks[i, ..., 5] = tile.classes == 0
    images = np.stack([tile.image for tile in tiles]).astype(np.float64)
    return FoldArrays(images, masks, np.array(tissues))


def paths(number: int, layout: str = "official") -> dict[str, str]:
    """Paths of a fold's three files: as published, or in one of the flatter layouts that people make."""
    return {
        "official": {
            "images": f"Fold {number}/images/fold{number}/images.npy",
            "masks": f"Fold {number}/masks/fold{number}/masks.npy",
            "types": f"Fold {number}/images/fold{number}/types.npy",
        },
        "folder": {kind: f"fold{number}/{kind}.npy" for kind in FoldArrays._fields},
        "by kind": {kind: f"{kind}/fold_{number}/{kind}.npy" for kind in FoldArrays._fields},
        "file names": {kind: f"fold{number}_{kind}.npy" for kind in FoldArrays._fields},
    }[layout]


def write_folders(root: Path, number: int, fold: FoldArrays, layout: str = "official") -> None:
    """Writes the fold as .npy files under `root`."""
    for kind, path in paths(number, layout).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / path, getattr(fold, kind))


def write_zip(root: Path, number: int, fold: FoldArrays) -> Path:
    """Writes `fold_N.zip` with the members of the published archive, its licence texts included."""
    path = root / f"fold_{number}.zip"
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for kind, member in paths(number).items():
            data = io.BytesIO()
            np.save(data, getattr(fold, kind))
            archive.writestr(member, data.getvalue())
        archive.writestr(f"Fold {number}/README.md", "PanNuke")
        archive.writestr(f"Fold {number}/masks/by-nc-sa.md", "CC BY-NC-SA 4.0")
        archive.writestr(f"__MACOSX/Fold {number}/images/fold{number}/._images.npy", "junk")
    return path


def write_parquet(root: Path, number: int, fold: FoldArrays, categories: tuple[str, ...] | None = None) -> Path:
    """Writes `data/foldN-00000-of-00001.parquet` as the `datasets` library does: a 1-bit PNG for each nucleus."""
    names = categories or ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")
    rows = []
    for image, masks, tissue in zip(*fold, strict=True):
        nuclei = [(c, masks[..., c] == i) for c in range(5) for i in np.unique(masks[..., c]) if i > 0]
        rows.append({
            "image": {"bytes": png(image.astype(np.uint8)), "path": None},
            "instances": [{"bytes": png(inside), "path": None} for _, inside in nuclei],
            "categories": [c for c, _ in nuclei],
            "tissue": TISSUES.index(str(tissue)),
        })  # fmt: skip
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image": {"_type": "Image"},
        "instances": {"feature": {"_type": "Image"}, "_type": "Sequence"},
        "categories": {"feature": {"names": list(names), "_type": "ClassLabel"}, "_type": "Sequence"},
        "tissue": {"names": MIRROR_TISSUES, "_type": "ClassLabel"},
    }
    kinds = [picture, pa.list_(picture), pa.list_(pa.int64()), pa.int64()]
    columns = list(zip(features, kinds, strict=True))
    schema = pa.schema(columns, {"huggingface": json.dumps({"info": {"features": features}})})
    path = root / "data" / f"fold{number}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def png(pixels: np.ndarray) -> bytes:
    """A PNG of the pixels."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()

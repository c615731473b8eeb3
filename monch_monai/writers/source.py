"""What results are of: a slide or image, and what made them. Every file states its provenance."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from monch_monai.class_table import ClassTable
from monch_monai.geometry import Mpp, Size, WorkingGrid
from monch_monai.segmentation import SCHEMA, Quantity, basic_quantities, feature_quantities, named

COORDINATES = "px of level 0 from its top left corner: x to the right, y down, pixel centres at halves"


@dataclass(frozen=True)
class Source:
    """What results are of.

    Attributes:
        path: file or folder of the slide or image.
        digest: what it is recognised by, in hexadecimal.
        size: of level 0.
        mpp: of level 0.
        grid: its working pixels.
        class_table: the classes of nuclei.
        about: the provenance, plain JSON.
        features: whether nuclei have the columns of `feature_quantities`.
        originals: Features of another tool's nuclei, by a nucleus's `source`; None where nuclei were found.
        shown_from: (x, y) of level 0 in what large_image shows, as `Slide.shown_from`.
    """

    path: Path
    digest: str
    size: Size
    mpp: Mpp
    grid: WorkingGrid
    class_table: ClassTable
    about: dict[str, Any]
    features: bool = False
    originals: Mapping[int, dict[str, Any]] | None = None
    shown_from: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Name of the file as Unicode text: a name that is none has question marks."""
        return self.path.name.encode("utf-8", "replace").decode()

    @property
    def text(self) -> str:
        """The provenance as JSON, in ASCII."""
        return json.dumps(self.about)

    @property
    def identity(self) -> str:
        """What identifiers in files are made of beside their contents: slide, resolutions, provenance and features."""
        pixels = f"{self.size} {self.mpp} {self.grid}"
        return json.dumps([self.digest, self.name, pixels, self.text, self.features])

    @property
    def schema(self) -> pa.Schema:
        """Of the tables that writers are given."""
        extra = feature_quantities(self.class_table) if self.features else []
        return pa.schema([*SCHEMA, *((quantity.column, pa.float64()) for quantity in extra)])

    @property
    def named_schema(self) -> pa.Schema:
        """Of the tables that files have."""
        return named(self.schema.empty_table(), self.class_table).schema

    @property
    def quantities(self) -> list[Quantity]:
        """The numbers that files state of each nucleus."""
        extra = feature_quantities(self.class_table) if self.features else []
        return [*basic_quantities(self.class_table), *extra]


def provenance(about: dict[str, Any], class_table: ClassTable, weights: Sequence[str]) -> dict[str, Any]:
    """What every file states, plain JSON.

    Args:
        about: software, name, and both resolutions.
        class_table: the classes.
        weights: SHA-256 of the files that predictions depend on.
    """
    return {
        **about,
        "coordinates": COORDINATES,
        "weights_sha256": list(weights),
        "classes": class_table.names,
        "class_table": class_table.to_dict(),
    }

"""One field of the plain layout: a picture and its maps as labels at the network's resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from monch_monai.class_table import IGNORE_INDEX
from monch_monai.data.images import read_rgb
from monch_monai.datasets.boxes import Box, draw_ellipses
from monch_monai.datasets.fields import MOST_NUCLEI, Labelled
from monch_monai.datasets.haematoxylin import without_unlabelled
from monch_monai.datasets.label_maps import read_map, resized_image, resized_map
from monch_monai.datasets.type_table import TypeTable
from monch_monai.errors import InputError

LARGEST_VALUE = {"instances": MOST_NUCLEI, "types": 255, "ignore": 2**31 - 1}
"""Largest number in each kind of map."""
MASK = 3
"""Pieces above which the only nucleus of a field is taken for a mask of all."""


@dataclass(frozen=True)
class PlainField:
    """A picture and its maps.

    Args:
        picture: file of the picture.
        maps: files of the maps, by kind: `instances`, and where there are any `types` and `ignore`.
        types: what types mean.
        scale: how much to enlarge.
        exhaustive: whether pixels without a nucleus are background.
        boxes: of the nuclei, in place of the maps `instances` and `types`.
    """

    picture: Path
    maps: Mapping[str, Path]
    types: TypeTable
    scale: float = 1.0
    exhaustive: bool = True
    boxes: Sequence[Box] | None = None

    def read(self) -> Labelled:
        """The field at the network's resolution.

        A nucleus has the type of most of its pixels that have one; ties go to the lower. Pixels of a type without a
        nucleus are 255, and so are those that `ignore` marks. Boxes are drawn before the field is resampled.

        Raises:
            InputError: a file cannot be read, a map has another size than the picture, all nuclei have one number, a
                type is unknown, a nucleus has none, or a box lies outside the picture.
        """
        image = read_rgb(self.picture)
        maps = {kind: read_map(path, LARGEST_VALUE[kind]) for kind, path in self.maps.items()}
        for kind, values in maps.items():
            if values.shape != image.shape[:2]:
                found = f"{self.maps[kind]} is of {values.shape[1]}x{values.shape[0]} px"
                wanted = f"its picture is of {image.shape[1]}x{image.shape[0]}"
                raise InputError(f"{found}; {wanted}: give maps of the picture's size")
        drawn: dict[str, int] = {}
        if self.boxes is not None:
            maps["instances"], maps["types"], drawn = draw_ellipses(self.boxes, image.shape[:2])
        pieces = _pieces(maps["instances"])
        if len(pieces) == 1 and pieces[0] > MASK:
            found = f"{self.maps['instances']} has one nucleus, in {pieces[0]} pieces"
            raise InputError(f"{found}, as a mask would: give each nucleus a number of its own")
        image = resized_image(image, self.scale)
        maps = {kind: resized_map(values, self.scale) for kind, values in maps.items()}
        instances = maps["instances"]
        types = maps.get("types", np.zeros_like(instances))
        labels, several = self._labels(instances, types)
        ignored = maps.get("ignore", np.zeros_like(instances)) > 0
        stray = (types > 0) & (instances == 0) & ~ignored
        labels[stray] = IGNORE_INDEX
        if not self.exhaustive:
            labels = without_unlabelled(image, labels, instances)
        labels[ignored] = IGNORE_INDEX
        remarks = drawn | {
            "nuclei in several pieces, as where numbers were cut to 8 bits": sum(count > 1 for count in pieces),
            "nuclei with pixels of several types, of which they have the most frequent": several,
            "pixels with a type but no nucleus, left out of loss and scores": int(np.count_nonzero(stray)),
        }
        return Labelled(image, labels, instances, remarks)

    def _labels(self, instances: NDArray[np.int32], types: NDArray[np.int32]) -> tuple[NDArray[np.uint8], int]:
        """Label of each pixel's nucleus, and the number of nuclei with several types."""
        unknown = sorted({*np.unique(types).tolist()} - {0, *self.types.label_of})
        if unknown:
            known = ", ".join(map(str, self.types.label_of))
            raise InputError(f"{self.maps['types']} holds the type {unknown[0]}; {self.types.path} has {known}: add it")
        ids, places = np.unique(instances, return_inverse=True)
        votes = np.bincount(places.ravel() * 256 + types.ravel(), minlength=len(ids) * 256).reshape(-1, 256)
        votes[:, 0] = 0  # so that a nucleus without any type has type 0
        of_nucleus = votes.argmax(axis=1)
        untyped = ids[(of_nucleus == 0) & (ids > 0)]
        if untyped.size and 0 not in self.types.label_of:
            found = f"{self.maps['types']} has no type for the nucleus {untyped[0]}"
            raise InputError(f"{found}: give it one, or state in {self.types.path} what 0 means in a nucleus")
        lookup = np.zeros(256, np.uint8)
        lookup[list(self.types.label_of)] = list(self.types.label_of.values())
        label: NDArray[np.uint8] = np.where(ids > 0, lookup[of_nucleus], 0).astype(np.uint8)
        several = int(np.count_nonzero((votes > 0).sum(axis=1)[ids > 0] > 1))
        return label[places.reshape(instances.shape)], several


def _pieces(instances: NDArray[np.int32]) -> list[int]:
    """In how many pieces, joined by edges or corners, each nucleus is."""
    found: list[int] = []
    for number, box in enumerate(find_objects(instances), start=1):
        if box is not None:
            found.append(label(instances[box] == number, np.ones((3, 3)))[1])
    return found

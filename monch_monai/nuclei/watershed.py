"""Single nuclei from a class map, by a watershed of the distance to the background."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, find_objects, label, mean
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from monch_monai.class_table import IGNORE_INDEX
from monch_monai.settings import number as setting

FOUR = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
"""Pixels that share an edge are connected, pixels that share a corner are not."""
LEAST_DEPTH_PX = 0.75
"""Smallest rise that separates nuclei: lower ones are the steps of a slanted edge. Of true maps at 0.5 µm/px, of six of
CoNSeP's fields, the pooled PQ is 0.76 at 0.75 px, and 0.60 at 0.5 px, which is 0.25 µm there."""
LEAST_RISE = 0.1
"""Smallest rise of the normalised distance, a share of a nucleus's largest, that separates nuclei."""


class Nuclei(NamedTuple):
    """The nuclei of one image.

    `instance_map [H, W]` int32 holds 0 for background and 1 to K, in order of each nucleus's first pixel. `classes [K]`
    uint8 and `probs [K, T - 1]` float64, the mean probability of each class of nuclei over the nucleus's pixels, belong
    to nuclei 1 to K. `mpp` is µm per pixel.
    """

    instance_map: NDArray[np.int32]
    classes: NDArray[np.uint8]
    probs: NDArray[np.float64]
    mpp: float


class WatershedNuclei:
    """Separates the nuclei of a class map.

    1. The pixels of any nucleus class are one mask: a nucleus may have pixels of several classes.
    2. A pixel's depth is its distance to the edge of the mask. Maxima of the depth that rise above the neck to the next
       by at least `separation_um` (h-maxima) are seeds: a long nucleus is not cut, two round ones that touch are. Where
       the network states the normalised distance to the nucleus's edge, that is the depth, and the rise `LEAST_RISE`.
    3. A watershed grows the seeds over the mask.
    4. Nuclei smaller than `min_area_um2` are dropped, and holes inside one nucleus filled.
    5. A nucleus is of the class with the largest mean probability over its pixels; ties go to the lower class.

    Every nucleus is in one piece, connected by edges. Pixels of 255 are background.

    Args:
        mpp: resolution of the class map, µm per pixel.
        separation_um: how much narrower, in radius, a neck must be than the nuclei it joins, in µm; at least
            `LEAST_DEPTH_PX` pixels. Of the true class maps of six CoNSeP training fields, nuclei of any class have a
            pooled PQ of 0.80 at 0.25, 0.76 at 0.5.
        min_area_um2: area of the smallest nucleus kept, in µm²; 0 keeps single pixels.

    Raises:
        InputError: `mpp` or `separation_um` is not a finite number above 0, or `min_area_um2` none of at least 0.
    """

    def __init__(self, mpp: float, separation_um: float = 0.25, min_area_um2: float = 2.0) -> None:
        self.mpp = float(setting("mpp", mpp, above=0, unit="µm per pixel, "))
        self.separation_um = float(setting("separation_um", separation_um, above=0, unit="µm, "))
        self.min_area_um2 = float(setting("min_area_um2", min_area_um2, least=0, unit="µm², "))

    def __call__(
        self, class_map: NDArray[np.uint8], probs: NDArray[np.floating], distance: NDArray[np.floating] | None = None
    ) -> Nuclei:
        """Nuclei of one image.

        Args:
            class_map: `[H, W]`.
            probs: `[T - 1, H, W]`, probability of each nucleus class, in [0, 1].
            distance: `[D, H, W]`, the normalised distance that a network states; D is 0 or 1.

        Raises:
            ValueError: the sizes differ.
        """
        if probs.shape[1:] != class_map.shape:
            sizes = f"class map is {list(class_map.shape)}, probabilities {list(probs.shape)}"
            raise ValueError(f"{sizes}: sizes must agree")
        mask = (class_map > 0) & (class_map != IGNORE_INDEX)
        # Hundredths of a pixel: an mpp of 0.25 that a file states as 0.24999999 must not decide a tie.
        min_area, rise = round(self.min_area_um2 / self.mpp**2, 2), round(self.separation_um / self.mpp, 2)
        if distance is None or not len(distance):
            depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
            parts = separate(mask, depth, max(rise, LEAST_DEPTH_PX), min_area)
        else:
            parts = separate(mask, distance[0].astype(np.float64), LEAST_RISE, min_area)
        instance_map = fill_holes(renumber(parts, min_area))
        means = mean_probs(instance_map, probs)
        return Nuclei(instance_map, (means.argmax(axis=1) + 1).astype(np.uint8), means, self.mpp)


def separate(
    mask: NDArray[np.bool_], depth: NDArray[np.float64], rise: float, min_area: float = 0
) -> NDArray[np.int32]:
    """Parts `[H, W]` of a mask `[H, W]`, split where the depth `[H, W]` falls by `rise` on both sides, at least 0.

    Each connected piece of the mask is split on its own: fewer pixels are sorted at once, and how ties fall does not
    depend on the rest of the image. Pieces smaller than `min_area` pixels are left out.
    """
    padded, depth = np.pad(mask, 1), np.pad(depth, 1)
    pieces, _ = label(padded, structure=FOUR)
    areas = np.bincount(pieces.ravel())
    parts = np.zeros(padded.shape, np.int32)
    count = 0
    for number, place in enumerate(find_objects(pieces), start=1):
        if areas[number] < min_area:
            continue
        # With a background on each side, which `padded` always leaves room for.
        around = tuple(slice(side.start - 1, side.stop + 1) for side in place)
        piece = pieces[around] == number
        distance = np.where(piece, depth[around], -1.0 - rise)  # background far below every nucleus
        lowered = reconstruction(distance - rise, distance, method="dilation", footprint=FOUR)
        seeds, found = label(local_maxima(lowered, connectivity=1) & piece, structure=FOUR)
        split = watershed(-distance, seeds, mask=piece, connectivity=1)
        parts[around][piece] = split[piece] + count
        count += found
    return parts[1:-1, 1:-1]


def fill_holes(parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Parts `[H, W]`, with holes filled that one part alone surrounds."""
    holes, count = label(binary_fill_holes(parts > 0) & (parts == 0), structure=FOUR)
    if not count:
        return parts
    padded = np.pad(parts, 1)
    lowest = np.full(count + 1, np.iinfo(np.int32).max)
    highest = np.zeros(count + 1, np.int32)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        beside = padded[dy : dy + parts.shape[0], dx : dx + parts.shape[1]]
        counts = (holes > 0) & (beside > 0)
        np.minimum.at(lowest, holes[counts], beside[counts])
        np.maximum.at(highest, holes[counts], beside[counts])
    owner = np.where(lowest == highest, highest, 0)
    owner[0] = 0
    return np.where(holes > 0, owner[holes], parts).astype(np.int32)


def renumber(parts: NDArray[np.int32], min_area: float = 0) -> NDArray[np.int32]:
    """Parts of at least `min_area` pixels, numbered from 1 in order of their first pixel, row by row."""
    ids, first, area = np.unique(parts, return_index=True, return_counts=True)
    kept = (ids > 0) & (area >= min_area)
    order = ids[kept][np.argsort(first[kept])]
    number = np.zeros(int(ids[-1]) + 1, np.int32)
    number[order] = np.arange(1, len(order) + 1)
    return number[parts]


def mean_probs(instance_map: NDArray[np.int32], probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of `probs [T, H, W]` over the pixels of each nucleus, `[K, T]`."""
    ids = np.arange(1, instance_map.max(initial=0) + 1)
    return np.stack([mean(p.astype(np.float64), instance_map, ids) for p in probs], axis=1)

"""PanNuke's six mask channels, as a class map and an instance map."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from monch_monai.class_table import PANNUKE
from monch_monai.errors import InputError

CHANNELS = len(PANNUKE.nuclei) + 1
BACKGROUND = len(PANNUKE.nuclei)
"""Index of the background channel."""
SMALL = 10
"""Nuclei of fewer pixels are counted as small: what the tile's border left of them."""


class Nucleus(NamedTuple):
    """One nucleus: index of its class, and its pixels `[H, W]` bool."""

    class_index: int
    inside: NDArray[np.bool_]


class Maps(NamedTuple):
    """`classes [H, W]` uint8, `instances [H, W]` uint16, and counts of contradictions in the masks."""

    classes: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    remarks: dict[str, int]


def nuclei_of(masks: NDArray[Any]) -> list[Nucleus]:
    """Nuclei of one tile's masks `[H, W, 6]`, by channel, then by id.

    An id is a nucleus of its own in each channel, since ids are unique inside a channel only, and stays one nucleus
    when it lies in several pieces: nothing is relabelled by connected components.
    """
    nuclei = []
    for nucleus_class in PANNUKE.nuclei:
        channel = masks[..., nucleus_class.index - 1]
        if channel.any():
            nuclei += [Nucleus(nucleus_class.index, channel == i) for i in np.unique(channel[channel > 0])]
    return nuclei


def draw(nuclei: Iterable[Nucleus], size: tuple[int, int]) -> Maps:
    """Class map and instance map of nuclei, which are drawn in the order given: where two overlap, the later one wins.

    In PanNuke's channel order that is the rule of most loaders and of the official metric's `binarize`. Ids of the
    instance map count up from 1 in the order of drawing, over all classes. Background is where no nucleus is.

    Raises:
        InputError: the tile has more than 65,535 nuclei.

    Remarks: `overlap_pixels` of two classes or more; `hidden_nuclei`, of which the later ones leave nothing;
    `nuclei_in_pieces`, of more than one 4-connected piece; `small_nuclei` of fewer than 10 pixels.
    """
    classes, instances, layers = np.zeros(size, np.uint8), np.zeros(size, np.uint16), np.zeros(size, np.uint8)
    seen = np.zeros((CHANNELS, *size), bool)
    pieces = small = number = 0
    for number, nucleus in enumerate(nuclei, start=1):
        if number > np.iinfo(np.uint16).max:
            raise InputError(f"a tile has more than {np.iinfo(np.uint16).max} nuclei: these are no instance masks")
        classes[nucleus.inside], instances[nucleus.inside] = nucleus.class_index, number
        layers[nucleus.inside & ~seen[nucleus.class_index]] += 1
        seen[nucleus.class_index] |= nucleus.inside
        rows, columns = np.nonzero(nucleus.inside)
        box = nucleus.inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        pieces += int(label(box, connectivity=1).max()) > 1
        small += rows.size < SMALL
    remarks = {
        "overlap_pixels": int(np.count_nonzero(layers > 1)),
        "hidden_nuclei": number - np.unique(instances[instances > 0]).size,
        "nuclei_in_pieces": pieces,
        "small_nuclei": small,
    }
    return Maps(classes, instances, remarks)


def decode(masks: NDArray[Any], name: str) -> Maps:
    """Maps of one tile's masks `[H, W, 6]` of any number type.

    Background is built from "no class": the sixth channel is only compared with it. Remarks besides those of `draw`:
    `void_pixels`, neither of a class nor background; `background_conflicts`, both; `shared_ids`, ids that stand in
    more than one channel.

    Args:
        masks: channels in PanNuke's order: neoplastic, inflammatory, connective, dead, epithelial, background.
        name: of the tile, for errors.

    Raises:
        InputError: a value is negative, fractional or not finite, or one of the sixth channel is neither 0 nor 1.
    """
    values = masks[..., :BACKGROUND]
    if not (np.isfinite(masks).all() and (masks >= 0).all() and (masks == np.trunc(masks)).all()):
        raise InputError(f"{name}: masks hold values that are no instance ids (negative, fractional or not finite)")
    if masks[..., BACKGROUND].max() > 1:
        found = f"the sixth mask channel holds ids up to {masks[..., BACKGROUND].max():g}"
        raise InputError(f"{name}: {found}; expected 0 and 1 for background: the channels are not in PanNuke's order")
    maps = draw(nuclei_of(masks), masks.shape[:2])
    background, nucleus = masks[..., BACKGROUND] > 0, maps.classes > 0
    ids = [np.unique(values[..., c][values[..., c] > 0]) for c in range(BACKGROUND)]
    together = np.concatenate(ids)
    more = {
        "void_pixels": int(np.count_nonzero(~background & ~nucleus)),
        "background_conflicts": int(np.count_nonzero(background & nucleus)),
        "shared_ids": together.size - np.unique(together).size,
    }
    return maps._replace(remarks={**maps.remarks, **more})

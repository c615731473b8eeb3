"""How deep a pixel lies in its nucleus: what a network learns so that nuclei that touch can be separated."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects


def normalised_distance(instance_map: NDArray[np.integer]) -> NDArray[np.float32]:
    """Distance of each pixel `[H, W]` to the edge of its nucleus, as a share of that nucleus's largest; 0 outside.

    After Naylor et al. (2018), whose network learns the distance itself. The border of the image is no edge.
    """
    distance = np.zeros(instance_map.shape, np.float32)
    for number, place in enumerate(find_objects(instance_map), start=1):
        if place is None:
            continue
        # One row and column more on each side: all of a nucleus may lie on its bounding box.
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in place)
        nucleus = instance_map[around] == number
        depth = distance_transform_edt(nucleus)
        if nucleus.all():  # the nucleus fills the image: no pixel is nearer to an edge than another
            depth = np.ones_like(depth)
        distance[around][nucleus] = (depth / depth.max())[nucleus]
    return distance


class NormalisedDistanced(MapTransform):
    """Dictionary transform of instance maps `[1, H, W]` to `normalised_distance`, `[1, H, W]` float32."""

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """`data` with distances in place of instance maps."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            instance_map = torch.as_tensor(changed[key])[0].int().numpy()
            changed[key], *_ = convert_to_dst_type(normalised_distance(instance_map)[None], changed[key], np.float32)
        return changed

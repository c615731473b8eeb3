"""Stain augmentation: more or less haematoxylin, eosin and residual than there was, and darker or paler as a whole."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

from monch_monai.settings import factor_range


def jitter_stain(image: Tensor, scale: Tensor, shift: Tensor, density_factor: Tensor | float = 1.0) -> Tensor:
    """Image `[3, H, W]`, 0 to 1, with each stain's amount multiplied by `scale` `[3]` and raised by `shift` `[3]`.

    Then the optical density of the whole is multiplied by `density_factor`, or that of each colour channel by its own
    where it is `[3]`.

    Amounts are those of Ruifrok and Johnston's (2001) colour deconvolution into haematoxylin, eosin and residual, with
    scikit-image's matrix: `-ln(image) = amounts @ rgb_from_hed`. All steps together are one product in optical
    density, `(od @ inverse @ diag(scale) + shift) @ matrix @ diag(density_factor)`. The idea of jittering stains is
    that of Tellez et al. (2018).
    """
    matrix, inverse = (torch.as_tensor(m, dtype=torch.float32) for m in (rgb_from_hed, hed_from_rgb))
    to_rgb = matrix * density_factor
    density = -torch.log(image.clamp(min=1 / 255))
    mixed = torch.einsum("chw,cd->dhw", density, inverse @ torch.diag(scale) @ to_rgb)
    return torch.exp(-(mixed + (shift @ to_rgb)[:, None, None])).clamp(0, 1)


class RandStainJitterd(RandomizableTransform, MapTransform):
    """Varies the amounts of haematoxylin, eosin and residual, and the optical density, of RGB images.

    Images are `[3, H, W]` with values 0 to 1. Other than a gamma that is kept to an image's own darkest and lightest
    value, as MONAI's is, the factor of the optical density makes tiles darker or paler than any of the data.

    Args:
        keys: of the images.
        strength: each stain's amount is multiplied by a number in 1 ± strength and raised by one in ± strength / 10;
            0.2 is plain to see, and 0 leaves the amounts alone.
        prob: how often both happen.
        density_range: of the factor that the optical density of each colour channel is multiplied by, as thickness,
            staining time and scanner do from one laboratory to another. Its logarithm is three quarters of a number
            common to the channels and a quarter of one of each channel's own, all uniform between the limits'
            logarithms.

    Raises:
        InputError: the range is not two numbers above 0, the smaller first.
    """

    def __init__(
        self,
        keys: KeysCollection,
        strength: float = 0.2,
        prob: float = 0.5,
        density_range: Sequence[float] = (1.0, 1.0),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self.strength = strength
        self.log_limits = np.log(factor_range("density_range", density_range))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Jitters the images of one dictionary, all by the same amounts."""
        item = dict(data)
        self.randomize(None)
        if not self._do_transform or (self.strength == 0 and not self.log_limits.any()):
            return item
        scale = torch.as_tensor(1 + self.R.uniform(-1, 1, 3) * self.strength, dtype=torch.float32)
        shift = torch.as_tensor(self.R.uniform(-1, 1, 3) * self.strength / 10, dtype=torch.float32)
        density_factor = self._density_factor()
        for key in self.key_iterator(item):
            item[key] = jitter_stain(item[key], scale, shift, density_factor)
        return item

    def _density_factor(self) -> Tensor | float:
        if not self.log_limits.any():
            return 1.0  # and draws nothing, so that seeds give what they gave without a range
        logarithm = 0.75 * self.R.uniform(*self.log_limits) + 0.25 * self.R.uniform(*self.log_limits, 3)
        return torch.as_tensor(np.exp(logarithm), dtype=torch.float32)

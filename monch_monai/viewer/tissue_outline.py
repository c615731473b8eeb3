"""The outline of a slide's tissue, within which nuclei were looked for."""

import numpy as np
from skimage.measure import approximate_polygon, find_contours

from monch_monai.slides import Slide, grid_of, tissue_and_lightening
from monch_monai.stain import TissueRule
from monch_monai.viewer.results import Result


def tissue_outline(result: Result, slide: Slide) -> list[list[list[float]]]:
    """Closed lines of points (x, y), px of level 0, by the rule that the slide's `summary.json` states.

    A slide that was searched as a whole, and an image, have the outline of their own edge.

    Raises:
        InputError: the slide is damaged.
    """
    width, height = slide.size
    rule = result.settings.get("tissue")
    if rule is None:
        return [[[0, 0], [width, 0], [width, height], [0, height], [0, 0]]]
    tissue, _ = tissue_and_lightening(slide, grid_of(slide), None, TissueRule(*rule))
    rows, columns = tissue.mask.shape
    scale = np.array([width / columns, height / rows])
    lines = (approximate_polygon(line, 0.7) for line in find_contours(np.pad(tissue.mask, 1).astype(np.float32), 0.5))
    return [((line[:, ::-1] - 0.5) * scale).round(1).tolist() for line in lines]

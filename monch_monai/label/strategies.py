"""What to label next: the image, or the part of one, that the model is least sure of; and chance, to compare with."""

import logging
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy

from monch_monai.errors import InputError
from monch_monai.geometry import Level0Box
from monch_monai.label.infer import MonchInfer
from monch_monai.label.labels import requested_part
from monch_monai.label.studies import Studies
from monch_monai.label.uncertainty import mean_uncertainty
from monch_monai.settings import whole_number
from monch_monai.slides import grid_of, tissue_and_lightening
from monch_monai.slides.image_files import is_slide, open_image

PATCH = (1024, 1024)
SMALLEST_PATCH = 64
"""Width and height of the parts of slides that are proposed, px of level 0, by default."""
CANDIDATES = 4
"""How many images or parts are segmented for one proposal, by default."""

logger = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """A part of an image that may be proposed; `changed` is when the image's file was last changed, `mpp` its scale."""

    image: str
    part: Level0Box
    changed: int
    mpp: float


class RandomChoice(Strategy):
    """An image without a label, or a part of the image that the request names, each as likely."""

    def __init__(self) -> None:
        super().__init__("Any image without a label; of a slide, any part with tissue")

    def __call__(self, request: dict[str, Any], datastore: Studies) -> dict[str, Any] | None:
        """`id` of the image and `bbox` (x, y, width, height) of the part; None where nothing is left."""
        for image in _shuffled(_images(request, datastore)):
            for candidate in _shuffled(candidates(image, request, datastore)):
                return {"id": candidate.image, "bbox": list(candidate.part)}
        return None


class Uncertainty(Strategy):
    """Of the images without a label, or the parts of the image that the request names, the one whose nuclei's classes
    the model is least sure of (`monch_monai.label.uncertainty`).

    Each request segments a few that were not looked at yet, drawn at random, and proposes the best of all that the
    version has seen: the more requests, the better the choice. What has been proposed comes again when all else has.
    """

    def __init__(self, infer: MonchInfer) -> None:
        super().__init__("The image, or part of one, whose nuclei's classes the model is least sure of")
        self.infer = infer
        self.scores: dict[int, dict[Candidate, float]] = {}
        self.proposed: dict[int, set[Candidate]] = {}

    def __call__(self, request: dict[str, Any], datastore: Studies) -> dict[str, Any] | None:
        """The same as `RandomChoice`, with the mean `uncertainty`, from 0 to 1."""
        version, segment = self.infer.segmenter(request)
        scores, proposed = self.scores.setdefault(version, {}), self.proposed.setdefault(version, set())
        images = _images(request, datastore)
        most = whole_number("candidates", request.get("candidates") or CANDIDATES, least=1)
        unseen = []
        for image in _shuffled(images):
            fresh = [c for c in candidates(image, request, datastore) if c not in scores]
            unseen += _shuffled(fresh)[: most if len(images) == 1 else 1]
            if len(unseen) >= most:
                break
        for candidate in unseen[:most]:
            try:
                found = segment(datastore.known(candidate.image), candidate.part, candidate.mpp)
            except InputError as error:
                logger.warning("%s is left out: %s", candidate.image, error)
                continue
            probs = [found.table[f"prob_{c.name}"].to_numpy() for c in found.class_table.nuclei]
            scores[candidate] = mean_uncertainty(np.stack(probs, axis=1))
        changed = {image: datastore.known(image).stat().st_mtime_ns for image in images}
        known = [c for c in scores if changed.get(c.image) == c.changed]
        left = [c for c in known if c not in proposed]
        if known and not left:
            proposed.difference_update(known)
            left = known
        if not left:
            return None
        best = max(left, key=lambda candidate: scores[candidate])
        proposed.add(best)
        return {"id": best.image, "bbox": list(best.part), "uncertainty": round(scores[best], 4), "version": version}


def _images(request: dict[str, Any], datastore: Studies) -> list[str]:
    """The image that the request names, or all without a label."""
    if request.get("image"):
        datastore.known(request["image"])
        return [request["image"]]
    return list(datastore.get_unlabeled_images())


def candidates(image: str, request: dict[str, Any], datastore: Studies) -> list[Candidate]:
    """What of an image may be proposed: a picture whole, unless the request names it; else parts of `patch_size`, of a
    slide those with tissue. None of an image that cannot be read.
    """
    path = datastore.known(image)
    changed = path.stat().st_mtime_ns
    patch = requested_part({"size": request.get("patch_size") or PATCH})
    if patch is None or min(patch.width, patch.height) < SMALLEST_PATCH:
        given = request.get("patch_size")
        raise InputError(f"patch_size is {given}; give width and height, at least {SMALLEST_PATCH} px of level 0")
    size = (patch.width, patch.height)
    whole = not request.get("image") and not is_slide(path)
    try:
        mpp = datastore.scale(image, request.get("mpp")).mpp
        return [Candidate(image, part, changed, mpp) for part in _parts(path, changed, None if whole else size, mpp)]
    except InputError as error:
        logger.warning("%s is left out: %s", image, error)
        return []


@lru_cache(maxsize=256)
def _parts(path: Path, changed: int, size: tuple[int, ...] | None, mpp: float) -> tuple[Level0Box, ...]:
    """Parts of `size`, or the whole for None, that cover an image; the last are moved inwards to fit."""
    with closing(open_image(path, mpp)) as image:
        width, height = image.size
        if size is None:
            return (image.box,)
        w, h = min(size[0], width), min(size[1], height)
        places = ((x, y) for y in range(0, height, h) for x in range(0, width, w))
        parts = [Level0Box(min(x, width - w), min(y, height - h), w, h) for x, y in places]
        if not is_slide(path):
            return tuple(parts)
        grid = grid_of(image)
        tissue, _ = tissue_and_lightening(image, grid, None)
        return tuple(part for part in parts if tissue.touches(grid.covering(part)))


def _shuffled(items: list[Any]) -> list[Any]:
    return [items[i] for i in np.random.default_rng().permutation(len(items))]

"""MONAI Label's task of segmenting an image or a part of it."""

import json
import logging
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.utils.others.generic import device_list, name_to_device

from monch_monai import __version__
from monch_monai.class_table import ClassTable
from monch_monai.errors import InputError
from monch_monai.files import sha256
from monch_monai.geometry import Level0Box
from monch_monai.label import headers
from monch_monai.label.labels import requested_part
from monch_monai.label.responses import MASKS, OUTLINES, mask_response, outline_response
from monch_monai.label.scale import REQUEST, Scale, scale_of
from monch_monai.label.segmenter import Segmenter
from monch_monai.label.working_copy import NEWEST, version_choices, version_weights, versions

logger = logging.getLogger(__name__)


class MonchInfer(InferTask):
    """Segments with any version in a working copy, by default the newest.

    Args:
        root: the working copy's bundle.
        class_table: the classes of the weights.
        mpp: µm per pixel of images that have none.
        words: file of other words for the classes.
    """

    def __init__(self, root: Path, class_table: ClassTable, mpp: float | None = None, words: str | None = None) -> None:
        metadata = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
        labels = {c.name: c.index for c in class_table.nuclei}
        super().__init__(InferType.SEGMENTATION, labels, dimension=2, description=metadata["description"])
        self.root, self.mpp, self.words = root, mpp, words
        self.words_hash = None if words is None else sha256(Path(words))

    def is_valid(self) -> bool:
        """True: a working copy has a version 0."""
        return True

    def info(self) -> dict[str, Any]:
        """Description for clients; `pathology` lets QuPath and DSA offer the model."""
        return {**super().info(), "pathology": True, "version": __version__}

    def config(self) -> dict[str, Any]:
        """What a request can set, the defaults first."""
        return {"device": device_list(), "version": version_choices(self.root), "mask": list(MASKS)}

    def get_path(self, validate: bool = True) -> str:
        """Weights of the newest version."""
        return str(max(versions(self.root).items(), default=(0, ""))[1])

    def segmenter(self, request: dict[str, Any]) -> tuple[int, Segmenter]:
        """Number of the version that a request asks for, and its segmenter.

        Raises:
            InputError: there is no such version or device.
        """
        if self.words is not None and sha256(Path(self.words)) != self.words_hash:
            raise InputError(f"words {self.words} changed since the server started: restart the server to use them")
        version, weights = version_weights(self.root, request.get("version") or NEWEST)
        device = name_to_device(request.get("device"))
        return version, _segmenter(self.root, version, weights, weights.stat().st_mtime_ns, device, self.words)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """File of the response, and its other contents.

        Args:
            request: `image`, its file; what part of it as `location` and `size`, or several as `wsi_tiles`. `output`
                is `asap`, `dsa` or `json` for outlines, else a mask, of `mask`. `version` and `device`; `scale`, a
                `Scale`, else `mpp`, where the file states none.

        Raises:
            InputError: the request cannot be met.
        """
        start = time.perf_counter()
        if request.get("level"):
            raise InputError(f"level is {request['level']}; location and size are of level 0: leave level out")
        version, segment = self.segmenter(request)
        path, output = Path(request["image"]), request.get("output")
        given = request.get("scale")
        scale = given if isinstance(given, Scale) else scale_of(path, (request.get("mpp"), REQUEST), server=self.mpp)
        log = logger.warning if scale.assumed else logger.info
        log("%s is segmented at %s", path.name, scale)
        headers.state(headers.RESOLUTION, str(scale))
        found = [segment(path, part, scale.mpp) for part in _parts(request)]
        if output in OUTLINES:
            file, response = outline_response(found, output, request["model"], scale)
        elif len(found) == 1:
            file, response = mask_response(found[0], request.get("mask", MASKS[0]))
        else:
            raise InputError("a mask is of one region; ask for outlines, or for one region after the other")
        seconds = round(time.perf_counter() - start, 2)
        response |= scale.fields()
        return file, {**response, "label_names": self.labels, "version": version, "latencies": {"total": seconds}}


def _parts(request: dict[str, Any]) -> list[Level0Box | None]:
    """Parts of the image that are asked for; None is the whole.

    A nucleus belongs to the part that its centroid lies in, so that of parts side by side no nucleus comes twice.
    """
    tiles = request.get("wsi_tiles")
    return [requested_part(tile) for tile in tiles] if tiles else [requested_part(request)]


@lru_cache(maxsize=2)
def _segmenter(root: Path, version: int, weights: Path, changed: int, device: str, words: str | None) -> Segmenter:
    folder = str(version) if words is None else f"{version}_{sha256(Path(words))[:12]}"
    return Segmenter(root, weights, root / "slides" / folder, device, words)

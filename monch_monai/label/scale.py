"""µm per pixel of the images in a studies folder and of uploads, and where each is known from."""

import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from monch_monai.data.images import SUFFIXES as PICTURE_SUFFIXES
from monch_monai.errors import InputError
from monch_monai.geometry import NETWORK_MPP, Mpp
from monch_monai.slides import open_slide
from monch_monai.slides.image_files import is_slide

FILE, REQUEST, IMAGE, SLIDE, LABEL, SERVER = (
    "stated by the file", "given with the request", "noted with the image", "of the slide it was cut from",
    "recorded with the label", "given at the server's start",
)  # fmt: skip
ASSUMED = "assumed, since the file states none"
AGREEMENT = 0.01
"""Largest relative difference of two resolutions that are taken for one."""
PATCH = re.compile(r"(?P<slide>.+)-patch-(?P<x>-?\d+)_(?P<y>-?\d+)_(?P<width>\d+)_(?P<height>\d+)")
"""How QuPath's extension names the patch of a slide that it submits with its label; the numbers are px of level 0."""


class Scale(NamedTuple):
    """µm per pixel of an image, and its source, one of this module's texts."""

    mpp: float
    source: str

    @property
    def assumed(self) -> bool:
        """Whether nobody has stated it."""
        return self.source == ASSUMED

    def __str__(self) -> str:
        """In ASCII, as it stands in XML and in headers of HTTP."""
        return f"{self.mpp:g} um/px, {self.source}"

    def fields(self) -> dict[str, Any]:
        """The same in JSON."""
        return {"mpp": self.mpp, "mpp_source": self.source}


def stated_mpp(path: str | Path) -> float | None:
    """µm per pixel that a slide or TIFF states; None where it states none, or where the file cannot be read."""
    if str(path).lower().endswith(PICTURE_SUFFIXES) and not str(path).lower().endswith((".tif", ".tiff")):
        return None
    try:
        with closing(open_slide(path)) as slide:
            return slide.resolution.mean
    except InputError:
        return None


def scale_of(path: str | Path, *known: tuple[float | None, str], server: float | None = None) -> Scale:
    """The scale of an image's file.

    Args:
        path: the file.
        known: µm per pixel by each source that may have it, those that agree with the file and each other.
        server: µm per pixel of files that have it from none of these.

    Raises:
        InputError: two of them disagree, one is no resolution, or the file is a slide that has it from none.
    """
    found = [Scale(Mpp(value, value).mean, source) for value, source in known if value is not None]
    stated = stated_mpp(path)
    if stated is not None:
        found.insert(0, Scale(stated, FILE))
    for other in found[1:]:
        if not same_mpp(found[0].mpp, other.mpp):
            pair = f"{found[0].mpp:g} ({found[0].source}) and {other.mpp:g} µm/px ({other.source})"
            raise InputError(f"mpp of {Path(path).name} is {pair}: leave mpp out, or correct one of them")
    if found:
        return found[0]
    if server is not None:
        return Scale(server, SERVER)
    if is_slide(path):
        open_slide(path).close()  # refuses it with its reason
    return Scale(NETWORK_MPP, ASSUMED)


def checked_mpp(value: Any) -> float | None:
    """µm per pixel of a request or of an image's info; None where it has none.

    Raises:
        InputError: it is no resolution.
    """
    return None if value is None else Mpp(value, value).mean


def slide_of(image_id: str, info: Mapping[str, Any]) -> str:
    """Id of the slide that an image was cut from, by its info's `slide` or its name; else its own."""
    found = PATCH.fullmatch(image_id)
    return str(info.get("slide") or (found and found["slide"]) or image_id)


def same_mpp(a: float, b: float) -> bool:
    """Whether two resolutions are taken for one."""
    return abs(a - b) <= AGREEMENT * max(a, b)

"""What the samples of a TIFF's pixels mean (TIFF 6.0): stored samples as RGB, or an error that names them."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from monch_monai.errors import InputError

GREY, INVERTED, RGB, PALETTE, CMYK, YCBCR = 1, 0, 2, 3, 5, 6
"""Values of TIFF's tag PhotometricInterpretation; `INVERTED` is grey of which 0 is white."""
SAMPLES = {GREY: 1, INVERTED: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
WHITE = {GREY: (255,), INVERTED: (0,), RGB: (255,) * 3, CMYK: (0,) * 4, YCBCR: (255, 128, 128)}
"""Stored samples of white, which blank strips and tiles have, that were never written."""
PREMULTIPLIED, TRANSPARENCY = 1, 2
"""Values of the tag ExtraSamples: colours times alpha, and alpha beside plain colours; 0 has no meaning."""
JPEG = 7
REC_601 = (0.299, 0.587, 0.114)
"""Luma of red, green and blue that YCbCr has by default (TIFF 6.0, YCbCrCoefficients)."""
FULL_RANGE = (0, 255, 128, 255, 128, 255)
"""Black and white of YCbCr by default (TIFF 6.0, ReferenceBlackWhite)."""


class Colours:
    """Turns the stored samples of a page into RGB.

    Args:
        page: of the file.
        planes: pages that make one picture: 3 where each channel has one, else 1.
        path: of the file, for messages.

    Attributes:
        grey: whether there are no colours.
        blank: samples of a white pixel, as stored; None where no value need be white.

    Raises:
        InputError: samples are not of 8 bits, or of a kind that is not converted, such as CIE Lab.
    """

    def __init__(self, page: tifffile.TiffPage, planes: int, path: str | Path) -> None:
        bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
        if page.dtype != np.uint8 or bits != 8:
            found = f"{bits} bits a channel" if page.dtype is None or page.dtype.kind == "u" else str(page.dtype)
            raise _error(path, found)
        self.kind = RGB if planes == 3 else int(page.photometric)
        # JPEG is decoded to RGB.
        self.kind = RGB if self.kind == YCBCR and page.compression == JPEG and page.planarconfig == 1 else self.kind
        if self.kind not in SAMPLES:
            raise _error(path, f"colours of the kind {_name(page.photometric)}")
        extra = 0 if planes == 3 else page.samplesperpixel - SAMPLES[self.kind]
        if extra not in (0, 1):
            raise _error(path, f"{page.samplesperpixel} channels of the kind {_name(page.photometric)}")
        self.alpha = int(page.extrasamples[0]) if extra and page.extrasamples else 0
        self.grey, self.blank = self.kind in (GREY, INVERTED), WHITE.get(self.kind)
        if self.blank is not None and extra:
            self.blank = (*self.blank, 0)
        if self.kind == PALETTE:
            colours = np.asarray(page.colormap).T
            self.palette = (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)
        if self.kind == CMYK and int(page.tags.valueof("InkSet", 1)) != 1:
            raise _error(path, "inks that are not CMYK")
        if self.kind == YCBCR:
            self._check_ycbcr(page, path)

    def __call__(self, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB `[H, W, 3]` of stored samples `[H, W, S]`; over white where they are transparent."""
        colours, rgb = samples[..., : SAMPLES[self.kind]], samples[..., :3]
        if self.kind in (GREY, INVERTED):
            rgb = np.repeat(255 - colours if self.kind == INVERTED else colours, 3, axis=2)
        elif self.kind == PALETTE:
            rgb = self.palette[colours[..., 0]]
        elif self.kind in (CMYK, YCBCR):
            mode = "CMYK" if self.kind == CMYK else "YCbCr"
            size = (samples.shape[1], samples.shape[0])
            rgb = np.asarray(Image.frombytes(mode, size, np.ascontiguousarray(colours).tobytes()).convert("RGB"))
        if self.alpha not in (PREMULTIPLIED, TRANSPARENCY):
            return np.ascontiguousarray(rgb)
        alpha = samples[..., -1:].astype(np.uint16)
        if self.alpha == PREMULTIPLIED:
            return np.asarray(np.minimum(rgb + (255 - alpha), 255), np.uint8)
        shown: NDArray[np.uint8] = ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        return shown

    def _check_ycbcr(self, page: tifffile.TiffPage, path: str | Path) -> None:
        tags = {name: page.tags.valueof(name) for name in ("YCbCrCoefficients", "ReferenceBlackWhite")}
        luma, ends = (None if value is None else np.reshape(value, (-1, 2)) for value in tags.values())
        usual = luma is None or np.allclose(luma[:, 0] / np.maximum(luma[:, 1], 1), REC_601, atol=1e-3)
        whole = ends is None or np.allclose(ends[:, 0] / np.maximum(ends[:, 1], 1), FULL_RANGE)
        if page.tags.valueof("YCbCrSubSampling", (2, 2)) != (1, 1) or not usual or not whole:
            raise _error(path, "YCbCr with subsampled colours or of unusual range")


def _name(photometric: int) -> str:
    try:
        return str(tifffile.PHOTOMETRIC(photometric).name)
    except ValueError:
        return str(photometric)


def _error(path: str | Path, found: str) -> InputError:
    return InputError(f"{path} holds {found}; expected RGB of 8 bits a channel: convert it to 8-bit RGB")

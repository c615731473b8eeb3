"""Segments a slide slowly, to be killed: `python -m tests.slides.interrupted SLIDE OUT`."""

import sys
import time
from pathlib import Path

from monch_monai.slides.segmenter import SlideSegmenter
from tests.fakes.slides import colours


def slowly(tiles):
    time.sleep(0.1)
    return colours(tiles)


if __name__ == "__main__":
    slide, out = map(Path, sys.argv[1:])
    with SlideSegmenter(out, slowly, region_size=512, nucleus_workers=1) as segmenter:
        segmenter(slide)

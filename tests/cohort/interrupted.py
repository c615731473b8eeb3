"""Segments a slide slowly, to be killed: `python -m tests.cohort.interrupted SLIDE OUT`."""

import sys
import time
from pathlib import Path

from monch_monai.class_table import PANNUKE
from monch_monai.cohort import SlideSegmenter
from monch_monai.segmentation import Workers
from monch_monai.stain import DEFAULT_RULE
from tests.fakes.slides import colours


def slowly(tiles):
    time.sleep(0.1)
    return colours(tiles)


slowly.class_table = PANNUKE


if __name__ == "__main__":
    slide, out = map(Path, sys.argv[1:])
    with SlideSegmenter(out, slowly, workers=Workers(1, 1, 512), tissue=DEFAULT_RULE) as segmenter:
        segmenter(slide)

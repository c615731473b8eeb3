"""The documents' examples in Python run."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.slides import write_slide
from tests.fakes.trained import tissue

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_example_of_slides_finds_nuclei(tmp_path):
    text = (REPOSITORY / "bundle" / "docs" / "slides.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    slide = write_slide(tmp_path / "slide.tif", tissue(0, 400, 400, 60).image)
    for written, here in {
        "slide.svs": slide, "bundle/models": REPOSITORY / "bundle/models", "4000, 3000, 1024, 1024": "0, 0, 300, 300",
    }.items():  # fmt: skip
        assert written in example
        example = example.replace(written, str(here))
    made: dict = {}
    exec(example, made)
    assert made["nuclei"].num_rows == len(made["outlines"])
    assert np.isfinite(made["factors"]).all()

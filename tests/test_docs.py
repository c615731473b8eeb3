"""The documents' examples in Python run."""

import re
from pathlib import Path

import numpy as np
import pytest

from scripts import network_figure, paper_rows
from tests.fakes.network import noise, small_monch
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


def test_the_page_of_the_papers_rows_is_that_of_the_configs_and_has_them_all():
    assert paper_rows.PAGE.read_text(encoding="utf-8") == paper_rows.page(), "run python scripts/paper_rows.py"
    named = {overlay for overlays in paper_rows.OVERLAYS.values() for overlay in overlays}
    assert {row for printed, _ in paper_rows.TABLES.values() for row in printed} == paper_rows.OVERLAYS.keys()
    for folder, beside in {
        "baselines": {"unet"},
        "ablations": {"prompts_names", "prompts_random", "middle_stride_8"},
        "encoders": {"clip_rn50x4", "clip_rn101", "clip_vit_b_16", "clip_vit_l_14"}
        | {"efficientnet_lite0", "efficientnet_lite2"},
    }.items():
        found = {path.stem for path in (paper_rows.CONFIGS / folder).glob("*.json")}
        assert found - beside == {name.split("/")[1] for name in named if name.startswith(folder)}


def test_the_picture_of_the_network_is_that_of_the_code_with_the_shapes_of_a_pass():
    network = network_figure.paper_network()
    made = network_figure.shapes(network)
    assert network_figure.PICTURE.read_text(encoding="utf-8") == network_figure.draw(made), (
        "run python scripts/network_figure.py"
    )
    side, channels = 256, network.architecture["channels"]
    for name, stride in {"high": 8, "conv": 16, "topo": 32, "blend": 8, "q_T": 8, "merged": 8}.items():
        assert made[name] == [channels, side // stride, side // stride]
    assert made["logits"] == [len(network.class_table), side, side]
    assert made["text"] == [3 * len(network.class_table), network.text_features.shape[1]]
    assert set(made) == set(network_figure.BOXES)


def test_the_shapes_follow_the_network_and_leave_it_without_hooks():
    network = small_monch()
    made = network_figure.shapes(network, 192)
    assert made["high"] == [32, 24, 24]
    assert made["logits"] == list(network(noise(1, 3, 192, 192)).shape[1:])
    assert not any(part._forward_hooks for part in network.modules())

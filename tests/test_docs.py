"""The documents' examples in Python run."""

import json
import re
from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest

from monch_monai.class_table import PANNUKE
from scripts import paper_rows
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


NOTEBOOK = REPOSITORY / "docs" / "first_picture.ipynb"


def test_the_notebook_is_committed_without_outputs_and_is_python():
    cells = [c for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert [cell["outputs"] for cell in cells] == [[]] * len(cells)
    assert [cell["execution_count"] for cell in cells] == [None] * len(cells)
    compile("\n".join("".join(cell["source"]) for cell in cells), str(NOTEBOOK), "exec")


@pytest.mark.slow
def test_the_notebook_runs_and_shows_nuclei_and_their_picture(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = {cell["id"]: cell for cell in notebook.cells}
    counts = literal_eval(cells["segment"].outputs[-1]["data"]["text/plain"])
    assert list(counts) == [c.name for c in PANNUKE.nuclei]
    assert sum(counts.values()) >= 10
    assert "POLYGON" in cells["nuclei"].outputs[-1]["data"]["text/plain"]
    assert "image/png" in cells["draw"].outputs[-1]["data"]

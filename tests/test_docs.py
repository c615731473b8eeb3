"""The documents' examples in Python run."""

import json
import re
import subprocess
from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser

from monch_monai.class_table import PANNUKE
from monch_monai.runs.rules import PATHS, RULES, SLIDE_RULES
from scripts import network_figure, paper_rows, settings_page, try_documents
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


def test_the_page_of_settings_is_that_of_the_configs_and_has_them_all():
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "run python scripts/settings_page.py"
    shown = {run: {setting.name for setting in settings_page.settings(run)} for run in settings_page.RUNS}
    assert set.union(*shown.values()) == {*RULES, *PATHS, *SLIDE_RULES}
    for run in set(shown) - set(settings_page.OWN):
        config = ConfigParser.load_config_files([settings_page.CONFIGS / name for name in settings_page.RUNS[run]])
        assert set(config["start"]["settings"]) <= shown[run]


def test_a_setting_without_a_description_is_found(tmp_path, monkeypatch):
    config = (settings_page.CONFIGS / "inference.json").read_text(encoding="utf-8")
    (tmp_path / "inference.json").write_text(config.replace('"_desc_mpp"', '"_desc_of_mpp"'), encoding="utf-8")
    monkeypatch.setattr(settings_page, "CONFIGS", tmp_path)
    with pytest.raises(KeyError, match="_desc_mpp"):
        settings_page.settings("images")


@pytest.mark.parametrize(
    "document", try_documents.documents(), ids=lambda path: path.relative_to(REPOSITORY).as_posix()
)
def test_every_block_of_commands_can_be_run_or_states_why_not(document):
    text = document.read_text(encoding="utf-8")
    found = try_documents.blocks(text)
    assert len(found) == len(re.findall(r"^ *```bash$", text, re.MULTILINE))
    for block in found:
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
        for config in re.findall(r"\b(?:bundle/)?configs/[\w/]+\.json", block.text):
            assert (REPOSITORY / "bundle" / config.removeprefix("bundle/")).is_file(), config
    others = re.findall(
        r"^ *```\n(.*?)^ *```", re.sub(r"^ *```\w+\n.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    )
    commands = re.compile(r"^(python|pip|torchrun|curl|monailabel|mkdocs) ", re.MULTILINE)
    assert not [other for other in others if commands.search(other)], "a block of commands begins with ```bash"


def test_the_marks_of_blocks_are_read():
    fence = "```bash\necho a\n```\n"
    marked = (
        "<!-- not run: needs a GPU -->\n" + fence,
        "<!-- runs for 20 s -->\n" + fence,
        "<!-- runs in bundle -->\n" + fence,
    )
    first, second, third, plain = try_documents.blocks("\n".join([*marked, fence]))
    assert (first.reason, second.seconds, third.folder) == ("needs a GPU", 20, "bundle")
    assert plain == try_documents.Block(17, "echo a\n")
    for wrong in ("not run", "not run:", "runs for a while"):
        with pytest.raises(ValueError, match="is no mark"):
            try_documents.blocks(f"<!-- {wrong} -->\n{fence}")


def test_a_block_that_fails_is_reported_and_one_that_serves_is_stopped(tmp_path):
    block = try_documents.Block(1, "false | true\n")
    assert "exit code 1" in try_documents.outcome(block, tmp_path, 30)
    assert try_documents.outcome(block._replace(text="sleep 60", seconds=1), tmp_path, 30) == ""
    assert "by itself" in try_documents.outcome(block._replace(text="true", seconds=5), tmp_path, 30)


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

import json
import re
from pathlib import Path

import monai.bundle
import pytest
from monai.bundle import ConfigParser, verify_metadata

import monch_monai
from monch_monai.class_table import PANNUKE
from monch_monai.errors import find_input_error
from monch_monai.runs.rules import PATHS, RULES
from scripts.try_documents import documents
from tests.bundle.conftest import CONFIGS, REPOSITORY

RUNNABLE = ["train.json", "inference.json", "inference_wsi.json"]
ALL = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.rglob("*.json") if p.name != "metadata.json")


RUNS = {
    "training": ["train.json"],
    "evaluating": ["train.json", "evaluate.json"],
    "inferring": ["inference.json"],
    "segmenting": ["inference_wsi.json"],
    "exporting": ["inference.json", "export.json"],
}
MERGED = {run: ConfigParser.load_config_files([CONFIGS / file for file in files]) for run, files in RUNS.items()}
CHECKED = [(run, name) for run, config in MERGED.items() for name in config["start"]["settings"]]


def load(name: str) -> dict:
    return ConfigParser.load_config_file(CONFIGS / name)


@pytest.mark.parametrize("name", RUNNABLE)
def test_takes_the_settings_every_config_takes(name: str) -> None:
    assert {"bundle_root", "dataset_dir", "output_dir", "device", "checkpoint", "seed"} <= set(load(name))


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.parametrize(("folder", "root"), [(REPOSITORY, "bundle"), (REPOSITORY / "bundle", ".")])
def test_the_bundle_is_found_from_beside_it_and_from_within(
    name: str, folder: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert ConfigParser(load(name)).get_parsed_content("bundle_root") == root


@pytest.mark.parametrize("name", ALL)
def test_is_wiring_without_programs(name: str) -> None:
    text = (CONFIGS / name).read_text(encoding="utf-8")
    assert not re.search(r"import monch_monai|lambda|getattr|/home/|/root/", text)
    assert not re.search(r'"\w+(#\w+)*#\d+(#\w+)*":', text), "by position in a list"


@pytest.mark.parametrize("run", ["training", "inferring", "segmenting"])
def test_every_setting_is_checked(run: str) -> None:
    config = MERGED[run]
    no_settings = {"imports", "initialize", "run", run, "handlers", "average", "spatial_keys", "spatial_modes", *PATHS}
    components = {name for name, value in config.items() if isinstance(value, dict) or "@network" in str(value)}
    names = {name for name in config if not name.startswith("_")}
    assert names - components - no_settings == set(config["start"]["settings"])
    assert set(config["start"]["settings"]) <= set(RULES)
    assert all(value == f"@{name}" for name, value in config["start"]["settings"].items())


@pytest.mark.parametrize(("run", "name"), CHECKED)
def test_a_bad_setting_ends_the_run_before_anything_else(run: str, name: str, tmp_path: Path) -> None:
    files = [str(CONFIGS / file) for file in RUNS[run]]
    settings = {"device": "cpu", name: -1.5}  # what no setting may be
    with pytest.raises((ValueError, RuntimeError)) as caught:
        monai.bundle.run(run, config_file=files, logging_file=False, output_dir=str(tmp_path / "out"), **settings)
    found = str(find_input_error(caught.value))
    assert found.startswith((f"{name} is -1.5; give", f"{name} -1.5 cannot be used"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("run", RUNS)
def test_a_run_checks_its_command_line_and_its_settings_first(run: str) -> None:
    check, start = MERGED[run][run][:2]
    assert (check, start) == ({"_target_": "monch_monai.runs.check_command_line"}, "$@start.start()")
    assert [step for step in MERGED[run][run][2:] if "start" in step] == []


def test_every_handler_is_a_component_as_clients_of_bundles_expect() -> None:
    for part in ("train", "validate"):
        assert all(isinstance(handler, dict) for handler in MERGED["training"][part]["handlers"])


def test_training_and_inference_build_the_same_network() -> None:
    training = load("train.json")["network_def"]
    of_classes = {"class_table": "@class_table", "class_shares": training["class_shares"]}  # which weights bring
    for name in ("inference.json", "inference_wsi.json"):
        assert load(name)["network_def"] | of_classes == training


def test_images_slides_and_validation_are_segmented_with_the_same_settings() -> None:
    images, slides = (load(f"{name}.json") for name in ("inference", "inference_wsi"))
    shared = (
        "tile_size",
        "overlap",
        "sw_batch_size",
        "nucleus_separation_um",
        "nucleus_min_area_um2",
        "amp",
        "mean",
        "std",
    )
    assert {name: images[name] for name in shared} == {name: slides[name] for name in shared}
    inferer = {name: default for name, default in load("train.json")["validate"]["inferer"].items() if name != "_desc_"}
    assert inferer == {"_target_": images["inferer"]["_target_"], "amp": "@amp"}
    assert images["network_def"] == slides["network_def"]


@pytest.mark.parametrize(("tissue", "searched"), [(True, True), ("true", True), (False, False), ("false", False)])
def test_slides_are_searched_as_a_whole_where_tissue_is_false(tissue: object, searched: bool, tmp_path: Path) -> None:
    parser = ConfigParser(load("inference_wsi.json"))
    network = {"network_def": {"_target_": "tests.fakes.network.small_monch"}, "weights": None, "lighten": False}
    parser.update({**network, "output_dir": str(tmp_path), "checkpoint": None, "tissue": tissue})
    segmenter = parser.get_parsed_content("segmenter")
    assert segmenter.settings["tissue"] == ([None, 0.01] if searched else None)


def test_metadata_has_the_class_table() -> None:
    outputs = load("metadata.json")["network_data_format"]["outputs"]["pred"]
    assert outputs["channel_def"] == {str(c.index): c.name for c in PANNUKE.classes}
    assert outputs["num_channels"] == len(PANNUKE.classes)


def test_one_version_everywhere() -> None:
    metadata = load("metadata.json")
    assert metadata["version"] == monch_monai.__version__
    assert metadata["version"] in metadata["changelog"]
    assert f"## {monch_monai.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_file_the_documents_point_to_is_there() -> None:
    for document in documents():
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8"))
        assert [link for link in links if not (document.parent / link).is_file()] == []


def test_the_metadata_fit_monais_schema(caplog: pytest.LogCaptureFixture) -> None:
    schema = Path(__file__).with_name("meta_schema_20240725.json")
    assert load("metadata.json")["schema"].endswith(schema.name)
    verify_metadata(meta_file=str(CONFIGS / "metadata.json"), filepath=schema)
    assert "metadata is verified with no error" in caplog.text


def test_metadata_without_what_the_schema_asks_for_do_not_fit_it(tmp_path: Path) -> None:
    metadata = load("metadata.json")
    del metadata["network_data_format"]["outputs"]["pred"]["num_channels"]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ValueError, match="against schema"):
        verify_metadata(
            meta_file=str(tmp_path / "metadata.json"), filepath=Path(__file__).with_name("meta_schema_20240725.json")
        )


def test_the_model_card_has_the_sections_of_the_model_zoo_in_their_order() -> None:
    card = (REPOSITORY / "bundle" / "docs" / "README.md").read_text(encoding="utf-8")
    sections = [
        "# Model Overview", "# Data", "# Training configuration", "## Input", "## Output", "# Performance",
        "# MONAI Bundle Commands", "# References", "# License",
    ]  # fmt: skip
    assert [line for line in card.splitlines() if line in sections] == sections


def test_licences_are_the_same() -> None:
    assert (REPOSITORY / "LICENSE").read_bytes() == (REPOSITORY / "bundle" / "LICENSE").read_bytes()


def test_metadata_is_json_that_names_every_required_package() -> None:
    packages = json.loads((CONFIGS / "metadata.json").read_text(encoding="utf-8"))["required_packages_version"]
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[>=<\s]", line)[0] for line in lines if line and not line.startswith("#")}
    assert named - {"torch", "monai", "numpy"} == set(packages)

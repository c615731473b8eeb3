"""Other words by name of a file, in every config that segments."""

from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from monch_monai.class_table import PANNUKE
from monch_monai.networks import rewording
from monch_monai.runs import Run
from tests.bundle.conftest import CONFIGS
from tests.fakes.network import noise, small_monch
from tests.fakes.words import BagOfWords

FILES = {
    "images": ["inference.json"],
    "images, TensorRT": ["inference.json", "export/tensorrt.json"],
    "slides": ["inference_wsi.json"],
}
MERGED = {"name": "tumour or gland", "of": ["neoplastic", "epithelial"], "color": [9, 9, 9]}


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Opens configs with weights of a small network and with other words, in which two of its classes are one."""
    monkeypatch.setattr(rewording, "load_text_encoder", lambda *_: BagOfWords())
    network, words = small_monch(), tmp_path / "words.yaml"
    network.describe(PANNUKE, BagOfWords())
    torch.save(network.state_dict(), tmp_path / "model.pt")
    words.write_text(yaml.safe_dump({"classes": [MERGED, "dead"]}), encoding="utf-8")

    def read(files: list[str]) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config([CONFIGS / file for file in files])
        parser["network_def"] = {"_target_": "tests.fakes.network.small_monch"}
        places = {"checkpoint": str(tmp_path / "model.pt"), "output_dir": str(tmp_path / "out")}
        parser.update({**places, "words": str(words), "device": "cpu", "bundle_root": str(CONFIGS.parent)})
        parser.get_parsed_content("weights")
        return parser

    return read


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_the_network_that_runs_has_the_words_classes(files: list[str], opened) -> None:
    network = opened(files).get_parsed_content("network").eval()
    assert network.class_table.names == ["background", "tumour or gland", "dead"]
    with torch.inference_mode():
        assert network(noise(1, 3, 64, 64)).shape[1] == 3


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_the_record_has_the_classes_of_the_results(files: list[str], opened, tmp_path: Path) -> None:
    parser = opened(files)
    parser["record"] |= {"data": "0", "settings": {}}
    run: Run = parser.get_parsed_content("start")
    run.start()
    record = yaml.safe_load(parser.get_parsed_content("record").read_text(encoding="utf-8"))
    names = [c["name"] for c in record["provenance"]["class_table"]["classes"]]
    assert names == ["background", "tumour or gland", "dead"]


def test_an_engine_that_tensorrt_keeps_is_of_the_words_that_it_was_built_with(opened, tmp_path: Path) -> None:
    parser = opened(FILES["images, TensorRT"])
    by_words = parser.get_parsed_content("network#base_path")
    parser = opened(FILES["images, TensorRT"])
    parser["words"] = None
    own = parser.get_parsed_content("network#base_path")
    assert own == str(tmp_path / "model.pt")
    assert by_words.startswith(own)
    assert by_words != own

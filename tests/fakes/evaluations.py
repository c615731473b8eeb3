"""Folders as `evaluate.json` leaves them, from made-up counts, and pages read as a browser reads them."""

import base64
import io
import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
from PIL import Image

from monch_monai.class_table import PANNUKE
from monch_monai.encoders import Origin
from monch_monai.handlers.score_files import write_scores
from monch_monai.metrics import ImageCounts
from monch_monai.networks.provenance import Provenance
from tests.fakes.labels import PLAIN

NETWORK = {"mgfe": True, "ppd": True, "high_pass": True, "topology": True, "queries": ["high", "conv", "topo", "text"]}
TEXT_ENCODER = SimpleNamespace(name="clip_rn50", origin=Origin("file", "weights.pt", sha256="c0de" * 16))
WORDS = [c.sentences for c in PANNUKE.classes]
PROVENANCE = Provenance(
    "clip_rn50", TEXT_ENCODER.origin, architecture={"normalisation": "batch"}, recipe={"learning_rate": 5e-5}
).with_words(PANNUKE, WORDS, "attributes", TEXT_ENCODER)
RECORD = {
    "kind": "evaluation",
    "seed": 7,
    "provenance": PROVENANCE.to_dict(),
    "checkpoint": {"file": "best.pt", "sha256": "c0ffee"},
    "data_fingerprint": "f00d",
    "started": "2026-01-02T03:04:05+0000",
    "command": ["python"],
    "settings": {"split": 2, "amp": False},
    "versions": {"monch": "0.1", "torch": "2.0"},
    "commit": "abcdef",
    "hardware": {"machine": "abacus", "gpus": []},
    "config": {"network_def": NETWORK},
}
TIME = {"median_ms": 12.5, "quartiles_ms": [12.0, 13.0], "device": "cpu", "precision": "float32",
        "device_name": "abacus", "batch_size": 1, "tile_size": 256}  # fmt: skip


def make_counts(tissues=("Breast", "Lung"), seed=0, absent=(), labels=PLAIN):
    """Two images of each tissue; labels in `absent` are in no truth."""
    matrices = np.random.default_rng(seed).integers(1, 90, (2 * len(tissues), len(labels), len(labels.table)))
    matrices[:, list(absent)] = 0
    names = [f"images.npy#{i}" for i in range(len(matrices))]
    here = ["here"] * len(names)
    return ImageCounts(names, [*tissues, *tissues], here, here, matrices, labels)


@cache
def _score_files(tissues, seed, absent, labels):
    with TemporaryDirectory() as folder:
        write_scores(Path(folder), make_counts(tissues, seed, absent, labels))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def write_evaluation(
    folder, seed=0, tissues=("Breast", "Lung"), absent=(), network=None, time=None, labels=PLAIN, **record
):
    """Scores of made-up counts and a record in which `network` and `record` differ from the usual."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _score_files(tuple(tissues), seed, tuple(absent), labels).items():
        (folder / name).write_bytes(content)
    record = {**RECORD, "config": {"network_def": {**NETWORK, **(network or {})}}, **record}
    if "encoder_weights" in record:  # as earlier versions recorded
        del record["provenance"]
    (folder / "run.json").write_text(json.dumps(record))
    if time is not None:
        (folder / "inference_time.json").write_text(json.dumps({**TIME, "median_ms": time}))
    return folder


def set_score(folder, value, *keys):
    """Replaces one value of `scores.json`."""
    path = folder / "scores.json"
    scores = part = json.loads(path.read_text())
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    path.write_text(json.dumps(scores))


def make_calibration(empty=("dead",), class_table=PANNUKE):
    """Each class has its bins at 0 and .9, of which all and none are right; a class in `empty` has no pixels."""
    filled = {"probability": [0.0, None, 0.9], "share": [1.0, None, 0.0], "expected_calibration_error": 0.9}
    nothing = {"probability": [None] * 3, "share": [None] * 3, "expected_calibration_error": None}
    return {"bins": 3, "classes": {c.name: nothing if c.name in empty else filled for c in class_table.nuclei}}


def add_everything(folder, tissue="Breast", source="here", name="tile.png", width=2000, class_table=PANNUKE):
    """The files that an evaluation may also have: calibration, nuclei, two tiles and a picture of feature maps."""
    (folder / "calibration.json").write_text(json.dumps(make_calibration(class_table=class_table)))
    ends = {"low": 0.25, "high": 0.75}
    counts = {"pq": 0.3, "dq": 0.5, "sq": 0.6, "pq_pannuke": None, "pq_strict": 0.2, "f1": 0.7, "precision": 0.8}
    classes = {"dead": {**counts, "recall": 0.625, "nuclei": 40, "predicted": 30}}
    nuclei = {"mpq": {"value": 0.4321, **ends}, "bpq": {"value": None, **ends}, "classes": classes}
    (folder / "nuclei.json").write_text(json.dumps(nuclei))
    for made in ("tiles", "figures"):
        (folder / made).mkdir()
    tile = {"image": f"/data/{name}", "tissue": tissue, "source": source}
    listed = {"worst_1": {**tile, "mean_dice": 0.125}, "best_1": {**tile, "mean_dice": 0.875}}
    (folder / "tiles" / "tiles.json").write_text(json.dumps(listed))
    for path in ("tiles/worst_1.png", "tiles/best_1.png", "figures/feature_maps.png"):
        Image.new("RGB", (width, 100), (200, 10, 10)).save(folder / path)
    return folder


class Page(HTMLParser):
    """A page's elements, references, text and pictures."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.open, self.styles = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements are nested"

    def handle_data(self, data):
        (self.styles if self.open[-1:] == ["style"] else self.texts).append(data)

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def style(self):
        """Everything that is CSS, of elements too."""
        return " ".join([*self.styles, *(attrs["style"] for _, attrs in self.elements if "style" in attrs)])

    @property
    def references(self):
        """Values of all attributes that name something to load."""
        names = ("src", "href", "srcset", "data", "action", "poster", "background")
        return [attrs[name] for _, attrs in self.elements for name in names if name in attrs]

    @property
    def pictures(self):
        """Each picture, decoded, with what it says of itself."""
        sources = [(attrs["src"], attrs["alt"]) for tag, attrs in self.elements if tag == "img"]
        return [(Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))), alt) for src, alt in sources]

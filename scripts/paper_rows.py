"""The page of the paper's rows, a command each: `python scripts/paper_rows.py` writes bundle/docs/paper.md."""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
from monai.bundle import ConfigParser

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.class_table import PANNUKE
from monch_monai.report.paper import F1_TABLES, TABLE_1, TABLE_2

ROOT = Path(__file__).resolve().parents[1]
CONFIGS, PAGE = ROOT / "bundle" / "configs", ROOT / "bundle" / "docs" / "paper.md"
OVERLAYS = {
    "MONCH": (), "CLIP": (),
    "HoVer-Net": ("baselines/hovernet",), "TSFD-Net": ("baselines/tsfd",), "CPP-Net": ("baselines/cppnet",),
    "Med-SA": ("baselines/med_sa",), "MA-SAM": ("baselines/ma_sam",),
    "without MGFE": ("ablations/without_mgfe",), "without PPD": ("ablations/without_ppd",),
    "without HF": ("ablations/without_high_pass",), "without Topo": ("ablations/without_topology",),
    "without q_h": ("ablations/without_query_high",), "without q_v": ("ablations/without_query_conv",),
    "without q_t": ("ablations/without_query_topo",), "without q_T": ("ablations/without_query_text",),
    "PLIP": ("encoders/plip", "encoders/plip_224"), "CONCH": ("encoders/conch",), "UNI": ("encoders/uni",),
    "SAM": ("encoders/sam_b", "encoders/sam_l", "encoders/sam_h"),
    "SAM2": tuple(f"encoders/sam2_{size}" for size in ("tiny", "small", "base_plus", "large")),
}  # fmt: skip
"""Rows as printed, and the overlays that make them; of several sizes the paper does not state which."""
TABLES = {
    1: (TABLE_1, "systems, pixel scores by class"), 2: (TABLE_2, "systems by organ"),
    3: (F1_TABLES[3], "main parts"), 4: (F1_TABLES[4], "visual features"), 5: (F1_TABLES[5], "the decoder's queries"),
    6: (F1_TABLES[6], "vision-language backbones"), 7: (F1_TABLES[7], "all backbones"),
}  # fmt: skip
HEAD = """# The paper's rows, a command each

`python scripts/paper_rows.py` writes this page from the configs. Prepare PanNuke once
(`python -m monch_monai prepare_pannuke --source S --out pannuke`). A row takes two commands for each split, 1 to 3,
with the row's overlay in the place of `ROW`, and nothing there for MONCH itself:

<!-- not run: needs PanNuke -->
```bash
python -m monai.bundle run training --config_file "['bundle/configs/train.json',ROW]" \\
    --dataset_dir pannuke --split 1 --output_dir out/NAME_1
python -m monai.bundle run --config_file "['bundle/configs/train.json','bundle/configs/evaluate.json',ROW]" \\
    --dataset_dir pannuke --split 1 --output_dir out/NAME_1
```

`python -m monch_monai tables out/* --table 1 --out table1` then prints a table, the paper's numbers beside ours.
Weights come from their hubs; those that must be asked for need `HF_TOKEN`. `--encoder_weights none` trains without
them. No GPU was at hand: neither hours nor GPU memory were measured. `accuracy.md` has what a step of the baselines
takes on a CPU.

The figures: `python -m monch_monai figures out/*_1 --out figures` draws evaluations of one split side by side.
`segmentations.png` has their nuclei in class colours, the truth first (Figs. 4 and 7), `f1.png` F1 by organ and by
class beside what the paper prints (Fig. 5). The tiles are chosen by the truth alone, so that no system is favoured:
organs take turns, and each gives its tile with the most classes, among these the one with the most nuclei. Runs of
other data, splits or classes are refused by name. `python -m monch_monai words TILE.png fig6.png --stages` draws Fig.
6 for a tile of any picture: the network's stages, then its attention to each class's words and its probability; each
map from its own least to its most. `docs/README.md` has Fig. 1.
"""
COLUMNS = "| row | overlay, in `bundle/configs/` | what it is | published weights | M parameters | M trained |\n"


@cache
def needs(overlay: str) -> tuple[str, str, str]:
    """What a row needs: published weights, million parameters, and those of them that are trained."""
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", *([CONFIGS / f"{overlay}.json"] if overlay else [])])
    parser["class_table"] = PANNUKE
    if "class_shares" in parser["network_def"]:
        parser["network_def#class_shares"] = None  # which are the data's
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    start = network.published_start() if hasattr(network, "published_start") else None
    encoder = getattr(network, "image_encoder", None)
    publication = encoder.publication if encoder is not None else start.publication if start is not None else None
    hub = "none" if publication is None else f"`{publication.hub}`{' (ask there)' if publication.gated else ''}"
    parameters = [*network.parameters()]
    sizes = (sum(p.numel() for p in some) for some in (parameters, [p for p in parameters if p.requires_grad]))
    return hub, *(f"{size / 1e6:.1f}" for size in sizes)


def rows() -> Iterator[str]:
    """Lines of the tables."""
    for number, (printed, what) in TABLES.items():
        yield f"\n## Table {number}: {what}\n\n{COLUMNS}|---|---|---|---|---|---|\n"
        for row in printed:
            for overlay in OVERLAYS[row] or ("",):
                about, entry = "the paper's network", ""
                if overlay:
                    config = json.loads((CONFIGS / f"{overlay}.json").read_text(encoding="utf-8"))
                    text = config["_desc_"].removeprefix("Overlay on train.json: ")
                    about, entry = text.split(". Use it")[0], f"`{overlay}.json`"
                yield f"| {row} | {entry} | {about} | {' | '.join(needs(overlay))} |\n"


def page() -> str:
    """The page as the configs have it."""
    return HEAD + "".join(rows())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""The paper's Fig. 1, drawn from the network: `python scripts/network_figure.py` writes bundle/docs/network.svg."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from monch_monai.arguments import run
from monch_monai.class_table import PANNUKE
from monch_monai.networks import Monch
from monch_monai.networks.features import Scales

DOCS = Path(__file__).resolve().parents[1] / "bundle" / "docs"
PICTURE = DOCS / "network.svg"
SIDE = 256
"""Of the image, px."""
PARTS = {
    "encoder": "image_encoder", "project": "project", "scales": "rescale", "high": "features.high",
    "conv": "features.conv", "topo": "features.topo", "blend": "fusion", "q_h": "decoder.attend.high",
    "q_v": "decoder.attend.conv", "q_t": "decoder.attend.topo", "q_T": "decoder.attend.text", "merged": "decoder.merge",
    "head": "head",
}  # fmt: skip
"""Box to the module that makes what the box shows."""
WIDTH, HEIGHT, PITCH_X, PITCH_Y = 128, 54, 160, 84
"""Of a box and from box to box, px."""
BOXES: dict[str, tuple[float, float, str, str]] = {
    "image": (0, 1, "image", "X"), "encoder": (1, 1, "image encoder", "stride 16"),
    "project": (2, 1, "F^m, middle", "1x1 convolution"),
    "fine": (3, 0, "F^f, fine", "upscaled"), "middle": (3, 1, "F^m", "as it is"),
    "coarse": (3, 2, "F^c, coarse", "downscaled"),
    "high": (4, 0, "F^h", "HF2EM, Eqs. 2-4"), "conv": (4, 1, "F^v", "Conv3*3"),
    "topo": (4, 2, "F^t", "TSEM, Eqs. 5-6"),
    "text": (4, 3, "F^T, words", "text encoder"), "blend": (4, -1, "blend", "FPN-like fusion"),
    "q_h": (5, 0, "q_h asks F^v", "attention, Eq. 7"), "q_v": (5, 1, "q_v asks F^t", "attention, Eq. 7"),
    "q_t": (5, 2, "q_t asks F^T", "attention, Eq. 7"), "q_T": (6, 2, "q_T asks blend", "attention, Eq. 7"),
    "merged": (6, 1, "merged", "with the blend"), "head": (6, 0, "head", "words' kernels, Eq. 8"),
    "logits": (6, -1, "logits", "a map a class"),
}  # fmt: skip
"""Column, row, name and what makes it."""
ARROWS = (
    "image encoder", "encoder project", "project fine", "project middle", "project coarse", "fine high", "middle conv",
    "coarse topo", "fine blend", "high q_h", "conv q_h", "q_h q_v", "topo q_v", "q_v q_t", "text q_t", "q_t q_T",
    "q_T merged", "merged head", "head logits", "blend q_T", "text head",
)  # fmt: skip


def shapes(network: Monch, side: int = SIDE) -> dict[str, list[int]]:
    """Shape of what each box shows, without the batch, of a pass of one image of `side` px; queries as maps.

    Args:
        network: the whole one, without parts switched off.
        side: height and width of the image, a multiple of what the network pads to.
    """
    seen: dict[str, Any] = {}
    device = next(network.parameters()).device
    with ExitStack() as hooks, torch.inference_mode():
        for name, part in PARTS.items():
            module: nn.Module = network.get_submodule(part)
            hooks.enter_context(module.register_forward_hook(lambda *call, name=name: seen.update({name: call[-1]})))
        seen["logits"] = network.eval()(torch.zeros(1, 3, side, side, device=device))
        seen["text"] = network.sentences().flatten(0, 1)[None]
    scales = seen.pop("scales")
    assert isinstance(scales, Scales)
    seen |= {"image": torch.empty(1, 3, side, side, device="meta"), **scales._asdict(), "encoder": seen["encoder"][-1]}
    grid = seen["high"].shape[-2:]
    for name in ("q_h", "q_v", "q_t", "q_T"):
        seen[name] = seen[name].mT.unflatten(2, grid)
    return {name: list(value.shape[1:]) for name, value in seen.items() if isinstance(value, Tensor)}


def paper_network() -> Monch:
    """The network of train.json, of PanNuke's classes, with random weights."""
    parser = ConfigParser()
    parser.read_config(DOCS.parent / "configs" / "train.json")
    parser["class_table"] = PANNUKE
    parser["network_def#class_shares"] = None  # which are the data's
    network: Monch = parser.get_parsed_content("network_def")
    return network


def draw(made: Mapping[str, list[int]]) -> str:
    """SVG of the boxes with their shapes, and arrows from box to box."""
    right, bottom = (max(at[axis] for at in BOXES.values()) for axis in (0, 1))
    size = (right * PITCH_X + WIDTH + 20, (bottom + 1) * PITCH_Y + HEIGHT + 20)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:g} {size[1]:g}" font-family="sans-serif">',
        "<title>MONCH: what each part makes of an image</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{size[0]:g}" height="{size[1]:g}" fill="white"/>',
    ]
    for arrow in ARROWS:
        points = " ".join(f"{x:g},{y:g}" for x, y in _ends(*arrow.split()))
        lines.append(f'<polyline points="{points}" fill="none" stroke="#555" marker-end="url(#tip)"/>')
    for name, (_, _, title, maker) in BOXES.items():
        x, y = _corner(name)
        lines.append(
            f'<g text-anchor="middle"><rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
            f'fill="{_colour(name)}" stroke="#555"/>'
        )
        shape = " x ".join(map(str, made[name]))
        for row, (text, look) in enumerate(
            ((title, 'font-size="13" font-weight="bold"'), (maker, 'font-size="10"'), (shape, 'font-size="11"'))
        ):
            lines.append(f'<text x="{x + WIDTH / 2:g}" y="{y + 16 + 15 * row:g}" {look}>{escape(text)}</text>')
        lines.append("</g>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def write() -> None:
    """Writes the picture of the network of train.json."""
    PICTURE.write_text(draw(shapes(paper_network())), encoding="utf-8")


def _corner(name: str) -> tuple[float, float]:
    column, row, *_ = BOXES[name]
    return 10 + column * PITCH_X, 10 + (row + 1) * PITCH_Y


def _ends(start: str, end: str) -> list[tuple[float, float]]:
    """Points of an arrow: across from box to box, up or down within a column, else by a bend between columns."""
    (x, y), (to_x, to_y) = _corner(start), _corner(end)
    middle, to_middle = y + HEIGHT / 2, to_y + HEIGHT / 2
    if x == to_x:
        side = x + WIDTH / 2
        return [(side, y + HEIGHT * (to_y > y)), (side, to_y + HEIGHT * (to_y < y))]
    gap = PITCH_X - WIDTH
    bend = to_x - gap * (0.5 if to_x - x <= PITCH_X else 0.7 if to_y > y else 0.3)  # those from afar beside one another
    points = [(x + WIDTH, middle), (bend, middle), (bend, to_middle), (to_x, to_middle)]
    return points if middle != to_middle else [points[0], points[-1]]


def _colour(name: str) -> str:
    if name in ("image", "logits"):
        return "#eeeeee"
    return "#ffe9c7" if name in ("text",) else "#d9e8f6" if name not in ("q_h", "q_v", "q_t", "q_T") else "#dff0d8"


if __name__ == "__main__":
    run(write, "network_figure.py")

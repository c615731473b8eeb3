"""Pictures of a slide where no tissue is, in training: glass, pen ink, dust, and stain without nuclei."""

import colorsys
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Picture = NDArray[np.float64]


class RandGlassd(RandomizableTransform, MapTransform):
    """Puts a picture without tissue in the place of a tile now and then, so that no nuclei are found in such places.

    Half of the pictures are glass with pen ink, the others bare glass, glass with dust, or even stain (`glass`).

    Args:
        keys: first of the RGB image `[3, H, W]` of 0 to 255, then of maps `[1, H, W]`, which become 0.
        prob: how often.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.05) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Changes one dictionary, or returns it as it is."""
        item = dict(data)
        self.randomize(None)
        if self._do_transform:
            image, *maps = self.key_iterator(item)
            height, width = item[image].shape[-2:]
            pixels = torch.from_numpy(glass(height, width, self.R)).permute(2, 0, 1)
            item[image] = torch.zeros_like(item[image]) + pixels
            for key in maps:
                item[key] = torch.zeros_like(item[key])
        return item


def glass(height: int, width: int, random: np.random.RandomState) -> NDArray[np.uint8]:
    """RGB picture `[H, W, 3]` of a place without tissue: pen ink, bare glass, dust or even stain, by chance."""
    kind = random.choice(["ink", "bare", "dust", "stain"], p=[0.5, 0.15, 0.15, 0.2])
    ground = random.uniform(190, 255) * random.uniform(0.97, 1.03, 3)
    picture = np.tile(ground, (height, width, 1)) + random.uniform(0, 12) * _clouds(height, width, 128, random)
    if kind == "ink":
        picture = _with_ink(picture, random)
    elif kind == "dust":
        picture = _with_dust(picture, random)
    elif kind == "stain":  # eosin, mostly, without a nucleus: keratin, colloid, blood's edge
        amount = 0.1 + random.uniform(0, 0.6) * (1 + random.uniform(0, 0.5) * _clouds(height, width, 32, random))
        colour = np.array([0.2, 1.0, 0.55]) * random.uniform(0.7, 1.3, 3)
        picture *= np.exp(-amount * colour)
    picture += random.normal(0, random.uniform(0.3, 4), picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def _clouds(height: int, width: int, cell: int, random: np.random.RandomState) -> Picture:
    """Smooth noise `[H, W, 1]` in [-1, 1], whose bumps are about `cell` px wide."""
    coarse = random.uniform(-1, 1, (height // cell + 3, width // cell + 3)).astype(np.float32)
    fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(fine, np.float64)[..., None]


def _with_ink(picture: Picture, random: np.random.RandomState) -> Picture:
    """One to four strokes of a felt pen of any colour, opaque or not, some as if seen at their edge."""
    height, width = picture.shape[:2]
    strokes = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(strokes)
    for _ in range(random.randint(1, 5)):
        points = [(random.uniform(-50, width + 50), random.uniform(-50, height + 50)) for _ in range(3)]
        draw.line(points, fill=int(random.uniform(150, 255)), width=int(random.uniform(4, 200)), joint="curve")
    cover = np.asarray(strokes.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 6))), np.float64)[..., None] / 255
    for cell in (4, 24):  # ink that dried in grains and streaks
        cover = cover * (1 - random.uniform(0, 0.3) * (1 + _clouds(height, width, cell, random)) / 2)
    colour = np.array(colorsys.hsv_to_rgb(random.uniform(), random.uniform(0.2, 1), random.uniform(0.02, 0.8)))
    density = -np.log(colour.clip(0.01)) * random.uniform(0.3, 1.2)
    return np.asarray(picture * np.exp(-density * cover))


def _with_dust(picture: Picture, random: np.random.RandomState) -> Picture:
    """Specks, fibres and scratches, in focus or not."""
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    height, width = picture.shape[:2]
    for _ in range(random.randint(1, 25)):
        x, y, grey = random.uniform(0, width), random.uniform(0, height), int(random.uniform(20, 180))
        if random.uniform() < 0.3:
            far = random.uniform(-120, 120, 2)
            draw.line((x, y, x + far[0], y + far[1]), fill=(grey,) * 3, width=random.randint(1, 4))
        else:
            wide, high = random.uniform(1, 14, 2)
            tinted = tuple(int(grey * factor) for factor in random.uniform(0.8, 1.2, 3))
            draw.ellipse((x, y, x + wide, y + high), fill=tinted)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(random.uniform(0, 4))), np.float64)

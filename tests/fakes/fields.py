"""Sources of labelled fields made by code, in the real formats: TIFF and SVS with Aperio's XML, and plain folders."""

import numpy as np
import tifffile
from PIL import Image

PINK, NUCLEUS, WHITE = (235, 190, 215), (90, 60, 140), (245, 245, 245)


def square(x, y, side):
    """Corners of a square of whole pixels, as Aperio writes outlines."""
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def aperio(annotations):
    """XML of regions by the name of their annotation; `None` writes no attribute, as MoNuSeg does."""
    parts = []
    for number, (name, regions) in enumerate(annotations.items(), start=1):
        attribute = "" if name is None else f'<Attribute Name="{name}" Id="0" Value=""/>'
        header = f"<Attributes>{attribute}</Attributes>"
        drawn = "".join(
            f'<Region Id="{i}" NegativeROA="0" Type="0"><Attributes/><Vertices>'
            + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in region)
            + "</Vertices></Region>"
            for i, region in enumerate(regions, start=1)
        )
        parts.append(f'<Annotation Id="{number}" Name="" Type="4">{header}<Regions>{drawn}</Regions></Annotation>')
    return f'<Annotations MicronsPerPixel="0.252000">{"".join(parts)}</Annotations>'


def picture(height, width, regions=(), ground=PINK):
    """RGB image of square regions on a ground, with a little texture that depends on the size."""
    image = np.full((height, width, 3), ground, np.uint8)
    for region in regions:
        (left, top), (right, bottom) = np.clip(np.array(region)[[0, 2]], 0, None).astype(int)
        image[top:bottom, left:right] = NUCLEUS
    image[..., 1] += (np.arange(width) % 3).astype(np.uint8)
    return image


def write_tiff(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="rgb")


def write_svs(path, image):
    """Tiled TIFF, which OpenSlide reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), description="Aperio Image Library\n|AppMag = 40")


def write_xml(path, annotations):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(aperio(annotations))


def write_plain(root, name, image, instances, **maps):
    """A picture and its maps: `instances` of 16 bits, further ones of 8, all PNG."""
    for kind, pixels in {"images": image, "instances": instances.astype(np.uint16), **maps}.items():
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / kind / f"{name}.png")

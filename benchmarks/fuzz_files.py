"""Small valid files of every kind that MONCH reads, and damage to them."""

import gzip
import io
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image

from tests.fakes.slides import Nucleus, paint, write_mirax, write_slide

NUMBERS = (0, 1, 2, 255, 256, 65_535, 2**31 - 1, 2**32 - 1)
TOKENS = (
    "null",
    "NaN",
    "1e999",
    "-1",
    "[]",
    "{}",
    '"',
    "\\ud800",
    "99999999999999999999",
    "true",
    ",",
    "]",
    "&x;",
    "!!x",
)
RESOLUTION = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}


def write_valid(folder: Path, checkpoint: Path) -> dict[str, list[Path]]:
    """Writes valid files; returns, by kind, the files or folders that are read."""
    rng = np.random.default_rng(0)
    nuclei = [Nucleus(*rng.integers(20, 300, 2), 9, 1 + i % 5) for i in range(20)]
    pixels = paint(nuclei, (320, 320)) + rng.integers(0, 6, (320, 320, 3)).astype(np.uint8)
    for kind in ("slide", "image", "map", "outlines", "annotations", "geojson", "table", "checkpoint"):
        (folder / kind).mkdir(parents=True)
    _slides(folder / "slide", pixels)
    _images(folder / "image", pixels[:96, :128])
    ids = np.arange(96 * 128, dtype=np.uint16).reshape(96, 128) // 500
    np.save(folder / "map/a.npy", ids)
    tifffile.imwrite(folder / "map/b.tif", ids, compression="zlib")
    Image.fromarray(ids).save(folder / "map/c.png")
    Image.fromarray((ids % 6).astype(np.uint8)).save(folder / "map/d_classes.png")
    _texts(folder, [(int(n.x), int(n.y)) for n in nuclei])
    shutil.copy(checkpoint, folder / "checkpoint/a.pt")
    return {kind.name: sorted(p for p in kind.iterdir() if p.name != "part") for kind in folder.iterdir()}


def _slides(folder: Path, pixels: np.ndarray) -> None:
    write_slide(folder / "a.tif", pixels, tile=128)
    write_mirax(folder / "part.mrxs", pixels, at=(2, 1))
    ome = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    with tifffile.TiffWriter(folder / "b.ome.tif", ome=True) as file:
        file.write(pixels, photometric="rgb", tile=(64, 64), subifds=1, metadata=ome, compression="jpeg")
        file.write(pixels[::2, ::2].copy(), photometric="rgb", tile=(64, 64), subfiletype=1, compression="jpeg")
    planes = pixels.transpose(2, 0, 1).copy()
    with tifffile.TiffWriter(folder / "c.ome.tif", ome=True) as file:
        file.write(planes, photometric="minisblack", metadata={**ome, "axes": "CYX"})
    for name, options in {
        "d": {"rowsperstrip": 320, "compression": "zlib"},
        "e": {"rowsperstrip": 20, "compression": "lzw", "predictor": True},
        "f": {"compression": None, "byteorder": ">", "bigtiff": True},
    }.items():
        tifffile.imwrite(folder / f"{name}.tif", pixels, photometric="rgb", metadata=None, **RESOLUTION, **options)
    text = "Aperio Image Library v11.2.1 \r\n320x320 [0,0 320x320] (128x128) JPEG/RGB Q=70|AppMag = 40|MPP = 0.25"
    tile = {"tile": (128, 128), "photometric": "rgb", "compression": "jpeg"}
    tifffile.imwrite(folder / "g.svs", pixels, description=text, metadata=None, **tile)


def _images(folder: Path, pixels: np.ndarray) -> None:
    picture = Image.fromarray(pixels)
    for name in ("a.png", "b.jpg", "c.bmp", "d.tif"):
        picture.save(folder / name)
    picture.quantize(16).save(folder / "e.png")
    picture.save(folder / "f.tif", compression="tiff_lzw")
    picture.convert("CMYK").save(folder / "g.tif", compression="jpeg")
    for name in ("h.nii", "i.nii.gz"):
        nib.save(nib.Nifti1Image(pixels.swapaxes(0, 1)[:, :, None], np.eye(4)), folder / name)


def _texts(folder: Path, places: list[tuple[int, int]]) -> None:
    squares = [[[x, y], [x + 9, y], [x + 9, y + 9], [x, y + 9], [x, y]] for x, y in places]
    features = [
        {
            "type": "Feature",
            "id": str(i),
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "detection", "classification": {"name": "dead"}, "measurements": {"a": i}},
        }
        for i, ring in enumerate(squares)
    ]
    collection = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / "geojson/a.geojson").write_text(collection)
    (folder / "geojson/b.geojson.gz").write_bytes(gzip.compress(collection.encode()))
    (folder / "annotations/a.json").write_text(collection)
    points = ["".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(s)) for s in squares]
    drawn = [
        f'<Annotation Name="neoplastic" Type="Polygon" PartOfGroup="None"><Coordinates>{p}</Coordinates></Annotation>'
        for p in points
    ]
    asap = f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{"".join(drawn)}</Annotations></ASAP_Annotations>'
    (folder / "annotations/b.xml").write_text(asap)
    elements = [
        {"type": "polyline", "closed": True, "group": "dead", "points": [[x, y, 0] for x, y in s]} for s in squares
    ]
    elements.append({"type": "circle", "center": [50, 50, 0], "radius": 9, "group": "inflammatory"})
    (folder / "annotations/c.json").write_text(json.dumps({"annotation": {"name": "a", "elements": elements}}))
    vertices = ["".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in s) for s in squares]
    regions = "".join(f'<Region Id="{i}"><Vertices>{v}</Vertices></Region>' for i, v in enumerate(vertices))
    aperio = f"<Annotations><Annotation Id='1'><Regions>{regions}</Regions></Annotation></Annotations>"
    (folder / "outlines/a.xml").write_text(aperio)
    shipped = Path(__file__).resolve().parents[1] / "monch_monai/class_table/tables/pannuke.yaml"
    shutil.copy(shipped, folder / "table/a.yaml")
    words = "classes:\n- neoplastic\n- {name: small, of: [inflammatory, connective]}\n"
    (folder / "table/words.yaml").write_text(words)
    (folder / "table/classes.csv").write_text("value,class\n1,neoplastic\n2,inflammatory|dead\n3,any\n")


def damage(path: Path, rng: random.Random, others: list[Path]) -> str:
    """Damages a file, or one of a folder's or of a MIRAX slide's; returns how."""
    beside = path.with_suffix("")
    files = [p for p in (path, beside) if p.exists()]
    files = sorted(file for p in files for file in ([p] if p.is_file() else p.iterdir()))
    file = rng.choice(files)
    data = bytearray(file.read_bytes())
    kinds: list[Callable[..., bytes]] = [_cut, _flip, _flip, _number, _number, _number, _insert, _repeat, _fill]
    if len(data) and max(data[:200]) < 128:
        kinds += [_token] * 6
    how = rng.choice(kinds)
    if rng.random() < 0.02:  # another kind's file under this name
        file.write_bytes(rng.choice(others).read_bytes())
        return f"{file.name}: other"
    file.write_bytes(bytes(how(data, rng)))
    return f"{file.name}: {how.__name__[1:]}"


def _place(data: bytearray, rng: random.Random, length: int = 1) -> int:
    """Somewhere; half of the time near an end, where headers and tables are."""
    last = max(0, len(data) - length)
    near = min(last, rng.choice((64, 512, 4096)))
    return rng.choice((rng.randint(0, last), rng.randint(0, near), last - rng.randint(0, near)))


def _cut(data: bytearray, rng: random.Random) -> bytes:
    return data[: rng.choice((0, _place(data, rng), _place(data, rng)))]


def _flip(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 8, 64))):
        if data:
            data[_place(data, rng)] = rng.randrange(256)
    return data


def _number(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 3))):
        raw = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
        raw = raw[:2] if rng.random() < 0.5 else raw
        at = _place(data, rng, len(raw)) & ~1
        data[at : at + len(raw)] = raw
    return data


def _insert(data: bytearray, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 100, 5000))) + data[at:]


def _repeat(data: bytearray, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at : at + rng.choice((1, 64, 4096))] * rng.choice((2, 100)) + data[at:]


def _fill(data: bytearray, rng: random.Random) -> bytes:
    at, length = _place(data, rng), rng.choice((4, 64, 4096))
    data[at : at + length] = bytes([rng.choice((0, 255, 32))]) * length
    return data


def _token(data: bytearray, rng: random.Random) -> bytes:
    text, out = data.decode("utf-8", "replace"), io.StringIO()
    at = rng.randrange(len(text) + 1)
    end = at + rng.choice((0, 1, 4, 30))
    out.write(text[:at] + rng.choice(TOKENS) + text[end:])
    return out.getvalue().encode("utf-8", "surrogatepass")

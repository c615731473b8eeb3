import itertools
import logging
import struct
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile
from PIL import Image

import monch_monai.data.tiff as tiff
import monch_monai.data.tiff_layout as layout
from monch_monai.data.images import read_rgb
from monch_monai.data.tiff import TiffPicture
from monch_monai.data.tiff_resolution import resolution
from monch_monai.errors import InputError
from monch_monai.geometry import LevelBox, Mpp
from monch_monai.slides import open_slide
from monch_monai.slides.formats import TiffSlide

HEIGHT, WIDTH = 90, 130
CODECS = find_spec("imagecodecs") is not None


@pytest.fixture(scope="module")
def pixels():
    """A smooth picture in which no flip, transposition or swap of channels goes unseen, with noise."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([60 + rows, 200 - columns, 90 + columns // 2 + rows // 2], axis=2)
    return (smooth + np.random.default_rng(0).integers(0, 4, smooth.shape)).astype(np.uint8)


def assert_reads(path, expected, tolerance=0):
    """Whole, in part and by every door."""
    height, width = expected.shape[:2]
    boxes = [LevelBox(0, 0, width, height), LevelBox(17, 5, 70, 61), LevelBox(width - 1, height - 1, 1, 1)]
    slide = TiffSlide(path)
    for box in boxes:
        part = expected[box.y : box.bottom, box.x : box.right]
        assert np.abs(slide.read(0, box).astype(int) - part).max() <= tolerance, (path, box)
    slide.close()
    assert np.array_equal(read_rgb(path), TiffPicture(path).read(0, boxes[0]))


PLACES = [{"tile": (32, 48)}, {"rowsperstrip": 13}, {"rowsperstrip": 1}, {}]
COMPRESSIONS = [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}]
COMPRESSIONS += [{"compression": name} for name in ("packbits", "lzw", "zstd") if CODECS]
KINDS = ["rgb", "planes", "alpha", "premultiplied", "unnamed", "cmyk", "palette", "bilevel of colour"]


def stored(kind, pixels):
    """Samples of an RGB picture as a kind of TIFF stores them, the options that name the kind, and what is seen."""
    if kind == "rgb":
        return pixels, {"photometric": "rgb"}, pixels
    if kind == "planes":
        return pixels.transpose(2, 0, 1).copy(), {"photometric": "rgb", "planarconfig": "separate"}, pixels
    if kind in ("alpha", "premultiplied", "unnamed"):
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
        alpha[:20] = 0
        seen = pixels.copy()
        seen[:20] = 255
        if kind == "premultiplied":
            return np.dstack([pixels * (alpha[..., None] > 0), alpha]), {"extrasamples": ["assocalpha"]}, seen
        names = {"alpha": "unassalpha", "unnamed": "unspecified"}
        seen = pixels if kind == "unnamed" else seen
        return np.dstack([pixels, alpha]), {"photometric": "rgb", "extrasamples": [names[kind]]}, seen
    if kind == "cmyk":
        inks = np.asarray(Image.fromarray(pixels).convert("CMYK"))
        return inks, {"photometric": "separated"}, pixels
    indices = (pixels[..., 0] // 2 + 40).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint16)
    return indices, {"photometric": "palette", "colormap": colours.T * 257}, colours[indices].astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("byteorder", "<>")
def test_a_picture_is_the_same_in_every_layout(tmp_path, pixels, kind, byteorder):
    samples, options, seen = stored(kind, pixels)
    for number, (place, compression) in enumerate(itertools.product(PLACES, COMPRESSIONS)):
        if "predictor" in compression and kind == "palette":
            continue
        for bigtiff in (False, True)[: 1 + (number % 3 == 0)]:
            path = tmp_path / f"{number}{bigtiff}.tif"
            with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as file:
                file.write(samples, metadata=None, **place, **compression, **{"photometric": "rgb", **options})
            assert_reads(path, seen)


@pytest.mark.parametrize(("compression", "tolerance"), [("tiff_lzw", 0), ("jpeg", 40), ("tiff_adobe_deflate", 0)])
def test_strips_that_pillow_writes_are_read_or_their_decoder_is_named(tmp_path, pixels, compression, tolerance):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, compression=compression, **({"quality": 95} if compression == "jpeg" else {}))
    if CODECS or compression == "tiff_adobe_deflate":
        assert_reads(path, pixels, tolerance)
    else:
        with pytest.raises(InputError, match=r"is compressed by (LZW|JPEG), .* no decoder: pip install imagecodecs"):
            TiffPicture(path)


def test_the_package_that_decodes_is_named_where_it_is_missing(tmp_path, pixels, monkeypatch):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, compression="tiff_lzw")
    monkeypatch.setattr(type(tifffile.TIFF.DECOMPRESSORS), "__getitem__", _missing)
    for read in (read_rgb, lambda path: open_slide(path, 0.25)):
        with pytest.raises(InputError, match=r"a.tif is compressed by LZW, .*: pip install imagecodecs"):
            read(path)


def _missing(self, key):
    raise KeyError(f"{key!r} requires the 'imagecodecs' package")


OTHER_INKS = (332, 3, 1, 2, True)
VIDEO_RANGE = (532, 5, 6, (15, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1), True)
"""Tags: InkSet, and ReferenceBlackWhite."""


def refused(path, words):
    messages = set()
    for read in (read_rgb, lambda path: open_slide(path, 0.25)):
        with pytest.raises(InputError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        messages.add(str(caught.value))
    assert len(messages) == 1, "one file, one answer"


@pytest.mark.parametrize("place", [{"tile": (32, 48)}, {"rowsperstrip": 13}])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: (p.astype(np.uint16) * 257, {"photometric": "rgb"}), "holds 16 bits a channel; expected RGB of 8"),
        (lambda p: (p.astype(np.uint16) * 16, {"photometric": "rgb"}), "holds 16 bits a channel"),
        (lambda p: (p / np.float32(255), {"photometric": "rgb"}), "holds float32; expected RGB of 8 bits"),
        (lambda p: (p.astype(np.int8), {"photometric": "rgb"}), "holds int8; expected"),
        (lambda p: (p, {"photometric": "cielab"}), "holds colours of the kind CIELAB"),
        (lambda p: (p, {"photometric": "minisblack", "planarconfig": "contig"}), "3 channels of the kind MINISBLACK"),
        (lambda p: (np.dstack([p, p]), {"photometric": "rgb"}), "6 channels of the kind RGB"),
        (lambda p: (np.stack([p, p]), {"photometric": "rgb"}), "holds 2 pages of one size; expected one RGB picture"),
        (lambda p: (np.stack([p[..., 0]] * 3), {"photometric": "minisblack"}), "holds 3 pages of one size"),
        (lambda p: (p, {"photometric": "rgb", "extratags": [OTHER_INKS]}), None),  # an ink set, of no inks
        (lambda p: (np.dstack([p, p[..., 0]]), {"photometric": "separated", "extratags": [OTHER_INKS]}), "not CMYK"),
        (lambda p: (p, {"photometric": "ycbcr", "extratags": [VIDEO_RANGE]}), "YCbCr .* of unusual range"),
    ],
)  # fmt: skip
def test_what_is_no_colour_of_8_bits_is_refused_by_name_the_same_by_every_reader(
    tmp_path, pixels, place, change, words
):
    samples, options = change(pixels)
    tifffile.imwrite(tmp_path / "a.tif", samples, metadata=None, **place, **options)
    if words is None:
        assert_reads(tmp_path / "a.tif", pixels)
    else:
        refused(tmp_path / "a.tif", words)


def test_ycbcr_without_subsampling_is_converted_and_the_orientation_left(tmp_path, pixels):
    converted = Image.fromarray(pixels).convert("YCbCr")
    turned = [(274, 3, 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(converted), photometric="ycbcr", metadata=None, extratags=turned)
    assert_reads(tmp_path / "a.tif", np.asarray(converted.convert("RGB")))


def test_grey_is_a_picture_without_colours_and_no_slide(tmp_path, pixels):
    for photometric, grey in (("minisblack", pixels[..., 0]), ("miniswhite", 255 - pixels[..., 0])):
        for place in PLACES:
            tifffile.imwrite(tmp_path / "a.tif", grey, photometric=photometric, metadata=None, **place)
            assert np.array_equal(read_rgb(tmp_path / "a.tif"), np.repeat(pixels[..., :1], 3, axis=2))
            with pytest.raises(InputError, match=r"a.tif is grey; expected a slide of H&E in RGB"):
                open_slide(tmp_path / "a.tif", 0.25)


OME = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}


def write_ome(path, *pictures, names=None, **options):
    """Pictures `[H, W, 3]`, each an image of an OME-TIFF; `[3, H, W]` of channels in pages of their own."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for picture in pictures:
            planes = picture.shape[0] == 3
            axes = {"axes": "CYX" if planes else "YXS"} | ({"Channel": {"Name": names}} if names else {})
            photometric = "minisblack" if planes else "rgb"
            file.write(picture, metadata={**OME, **axes}, photometric=photometric, **options)
    return path


@pytest.mark.parametrize("place", [{"tile": (32, 48)}, {"rowsperstrip": 13}, {}])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_channels_in_pages_are_colours_only_where_they_are_so_named(tmp_path, pixels, place, compression):
    planes = pixels.transpose(2, 0, 1).copy()
    for names in (["Red", "Green", "Blue"], ["R", "G", "B"], None):
        path = write_ome(tmp_path / "a.ome.tif", planes, names=names, compression=compression, **place)
        assert_reads(path, pixels)
        assert TiffPicture(path).mpp == Mpp(0.25, 0.25)
    path = write_ome(tmp_path / "a.ome.tif", planes, names=["DAPI", "FITC", "TRITC"], **place)
    refused(path, r"holds 3 channels \(dapi, fitc, tritc\); expected one RGB picture")


@pytest.mark.parametrize("ome", [True, False])
@pytest.mark.parametrize("place", [{"tile": (32, 48)}, {"rowsperstrip": 13}])
def test_the_largest_picture_is_the_slide_wherever_it_stands(tmp_path, pixels, ome, place):
    small, macro = pixels[:40, :50].copy(), pixels[:80, :60].copy()
    for order in ((small, pixels, macro), (pixels, macro, small)):
        if ome:
            path = write_ome(tmp_path / "a.ome.tif", *order, **place)
        else:
            path = tmp_path / "a.tif"
            with tifffile.TiffWriter(path) as file:
                for picture in order:
                    file.write(picture, photometric="rgb", metadata=None, **place)
        assert_reads(path, pixels)
        assert len(TiffPicture(path).sizes) == 1


@pytest.mark.parametrize("subifds", [True, False])
def test_levels_are_found_in_pages_and_in_subifds(tmp_path, pixels, subifds):
    levels = [pixels[:88, :128], pixels[:88:2, :128:2], pixels[:88:4, :128:4]]
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=subifds) as file:
        for number, picture in enumerate(levels):
            below = {"subifds": 2} if subifds and number == 0 else {"subfiletype": int(number > 0)}
            meta = {"axes": "YXS", **OME} if subifds and number == 0 else None
            file.write(picture.copy(), photometric="rgb", tile=(16, 16), metadata=meta, **below)
    slide = open_slide(tmp_path / "a.tif", 0.25)
    assert slide.sizes == ((128, 88), (64, 44), (32, 22))
    for number, picture in enumerate(levels):
        assert np.array_equal(slide.read(number, LevelBox(0, 0, *slide.sizes[number])), picture)


def test_blank_tiles_that_were_never_written_are_white(tmp_path, pixels):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 48), metadata=None, compression="zlib")
    with tifffile.TiffFile(path) as file:
        counts = file.pages[0].tags["TileByteCounts"]
        code = "H" if counts.dtype == 3 else "I"
        place = counts.valueoffset + 4 * struct.calcsize(code)  # the fifth of three a row
    with path.open("r+b") as opened:
        opened.seek(place)
        opened.write(struct.pack(f"<{code}", 0))
    expected = pixels.copy()
    expected[32:64, 48:96] = 255
    assert_reads(path, expected)


def test_a_strip_is_decoded_once_though_many_regions_need_it(tmp_path, pixels, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib", rowsperstrip=HEIGHT, metadata=None)
    picture, calls = TiffPicture(path), []
    decode = tiff._decode
    monkeypatch.setattr(tiff, "_decode", lambda *args: calls.append(args[1]) or decode(*args))
    for box in LevelBox(0, 0, WIDTH, HEIGHT).squares(20):
        assert np.array_equal(picture.read(0, box), pixels[box.y : box.bottom, box.x : box.right])
    assert calls == [0]


def test_no_more_than_the_cache_is_kept(tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(tiff, "CACHE_BYTES", 3 * 32 * 48 * 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", tile=(32, 48), compression="zlib")
    picture = TiffPicture(tmp_path / "a.tif")
    for box in LevelBox(0, 0, WIDTH, HEIGHT).squares(20):
        picture.read(0, box)
        assert sum(one.nbytes for one in picture.decoded.values()) == picture.kept <= 3 * 32 * 48 * 3


def test_a_strip_too_large_to_decode_is_refused_with_the_command_that_makes_tiles(tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(layout, "MOST_BYTES", 1000)
    tifffile.imwrite(tmp_path / "plain.tif", pixels, photometric="rgb", metadata=None)
    assert_reads(tmp_path / "plain.tif", pixels)  # of what is not compressed any part can be read
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="zlib", rowsperstrip=HEIGHT)
    refused(tmp_path / "a.tif", r"holds a strip or tile of 0.0 GiB, .*: convert it to tiles, such as by vips tiffsave")


@pytest.mark.parametrize("place", [{"tile": (32, 48)}, {"rowsperstrip": 13}])
def test_a_size_that_the_tables_do_not_fit_is_refused(tmp_path, pixels, place):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", compression="zlib", metadata=None, **place)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(30000)
    refused(path, r"states 130x30000 px but does not list the data of these")


@pytest.mark.parametrize(
    ("tags", "ome", "found", "warned"),
    [
        (0.5, 0.25, 0.25, True),  # OME-XML comes first, aloud
        (0.25, 0.252, 0.252, False),
        (72, 0.25, 0.25, False),  # a printer's, which many writers leave there
        (0.5, None, 0.5, False),
        (None, 0.5, 0.5, False),
        (None, None, None, False),
    ],
)
def test_ome_and_tags_that_disagree_are_named(tmp_path, pixels, caplog, tags, ome, found, warned):
    options = {} if tags is None else {"resolution": (1e4 / tags, 1e4 / tags), "resolutionunit": "CENTIMETER"}
    meta = {"axes": "YXS"} | ({} if ome is None else {"PhysicalSizeX": ome, "PhysicalSizeY": ome})
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(pixels, photometric="rgb", tile=(32, 48), metadata=meta, **options)
    with caplog.at_level(logging.WARNING):
        mpp = TiffPicture(tmp_path / "a.ome.tif").mpp
    assert (mpp is None) if found is None else mpp.x == pytest.approx(found)
    words = "its OME-XML states 0.25 µm/px and its tags 0.5: OME-XML's is used"
    assert [words in record.getMessage() for record in caplog.records] == [True] * warned


def test_imagej_states_its_unit_in_the_description(tmp_path, pixels):
    for unit, mpp in (("um", 0.25), ("micron", 0.25), (r"\u00B5m", 0.25), ("pixel", None), (None, None)):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pixels, imagej=True, resolution=(4, 4), metadata={"unit": unit})
        with tifffile.TiffFile(path) as file:
            assert resolution(file.pages[0], path) == (None if mpp is None else Mpp(mpp, mpp))

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from monch_monai.errors import InputError
from monch_monai.geometry import LevelBox, Mpp, Size, WorkingBox
from monch_monai.slides import ImageSlide, LightenedSlide, grid_of, open_slide, overview, read_working
from monch_monai.slides.formats import OpenSlideSlide, TiffSlide
from tests.fakes.dicom import write_dicom
from tests.fakes.slides import write_mirax, write_slide


@pytest.fixture(scope="module")
def pixels():
    noise = np.random.default_rng(0).integers(0, 255, (330, 470, 3)).astype(np.uint8)
    noise[:, :100, 0] = 250  # left is redder than right
    return noise


@pytest.fixture(scope="module")
def path(pixels, tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "noise.tif", pixels)


def strips(folder, pixels, mpp=0.25):
    """A TIFF in strips, which OpenSlide refuses."""
    file = folder / "strips.tif"
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(file, pixels, photometric="rgb", rowsperstrip=50, compression="zlib", metadata=None, **resolution)
    return file


def test_openslide_and_tifffile_read_the_same(path, pixels, tmp_path):
    plain = open_slide(strips(tmp_path, pixels))
    assert isinstance(plain, TiffSlide)
    for slide in (open_slide(path), TiffSlide(path), plain):
        assert slide.size == Size(470, 330)
        assert slide.mpp.x == pytest.approx(0.25, rel=1e-4)
        for box in (LevelBox(0, 0, 470, 330), LevelBox(17, 40, 300, 201), LevelBox(255, 255, 2, 2)):
            assert np.array_equal(slide.read(0, box), pixels[box.y : box.bottom, box.x : box.right])
        slide.close()
    first, second = OpenSlideSlide(path), TiffSlide(path)
    assert first.sizes == second.sizes == ((470, 330), (235, 165))
    assert np.array_equal(first.read(1, LevelBox(9, 8, 100, 90)), second.read(1, LevelBox(9, 8, 100, 90)))


def test_beyond_the_slide_its_edge_is_repeated(path, pixels):
    slide = open_slide(path)
    padded = np.pad(pixels, ((5, 7), (300, 300), (0, 0)), mode="edge")
    assert np.array_equal(slide.read(0, LevelBox(-300, -5, 1070, 342)), padded)
    assert (slide.read(0, LevelBox(-50, -50, 10, 10)) == pixels[0, 0]).all()
    assert (slide.read(0, LevelBox(900, 20, 3, 2)) == pixels[20:22, -1][:, None]).all()


@pytest.mark.parametrize("mpp", [0.5, 0.15, 0.1])
def test_a_resampled_pixel_is_the_same_in_any_box(pixels, mpp):
    slide = ImageSlide(pixels, mpp)
    grid = grid_of(slide)
    assert grid.per_level != (1, 1)
    whole = read_working(slide, grid, grid.box)
    for box in (
        WorkingBox(0, 0, 31, 30),
        WorkingBox(37, 41, 60, 55),
        WorkingBox(grid.box.width - 20, grid.box.height - 9, 20, 9),
    ):
        assert np.array_equal(read_working(slide, grid, box), whole[box.within(grid.box)])
    ideal = np.asarray(Image.fromarray(pixels).resize((grid.box.width, grid.box.height), Image.Resampling.BILINEAR))
    if (grid.box.width, grid.box.height) == (470 * mpp / 0.25, 330 * mpp / 0.25):
        assert np.abs(whole.astype(int) - ideal)[3:-3, 3:-3].max() <= 1


def test_the_overview_is_the_whole_slide_made_small(path, pixels):
    slide = open_slide(path)
    small = overview(slide, 4)
    assert small.shape[:2] in ((82, 118), (83, 118))
    assert small[:, :20, 0].mean() > small[:, 40:, 0].mean() + 80
    assert np.array_equal(overview(slide, 1), pixels)


@pytest.mark.parametrize("make", [write_slide, lambda path, pixels, mpp: strips(path.parent, pixels, mpp)])
def test_a_slide_without_resolution_needs_one(pixels, tmp_path, make):
    file = make(tmp_path / "slide.tif", pixels, mpp=None)
    with pytest.raises(InputError, match=r"states no resolution of 0.02 to 2 µm/px: give --mpp"):
        open_slide(file)
    assert open_slide(file, 0.5).mpp == Mpp(0.5, 0.5)


def test_dicom_reads_the_same(pixels, tmp_path):
    pytest.importorskip("wsidicom", reason="the optional extra dicom is not installed")
    slide = open_slide(write_dicom(tmp_path / "dicom", pixels, mpp=0.5))
    assert (slide.size, slide.mpp) == (Size(470, 330), Mpp(0.5, 0.5))
    assert np.array_equal(slide.read(0, LevelBox(0, 0, 470, 330)), pixels)
    assert np.array_equal(slide.read(0, LevelBox(60, 70, 200, 100)), pixels[70:170, 60:260])
    slide.close()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "no.dcm").write_text("no DICOM")
    with pytest.raises(InputError, match=r"empty cannot be read as a DICOM slide .*: replace or remove it"):
        open_slide(tmp_path / "empty")


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [(0.25, None, 0.25), (250, "nm", 0.25), (2.5e-4, "mm", 0.25), (1, "pixel", None), (25, "µm", None)],
)
def test_ome_states_the_unit_of_its_resolution(pixels, tmp_path, size, unit, mpp):
    file = tmp_path / "strips.ome.tif"
    units = {} if unit is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(
        file,
        pixels,
        photometric="rgb",
        rowsperstrip=50,
        metadata={"PhysicalSizeX": size, "PhysicalSizeY": size, **units},
    )
    found = TiffSlide(file).mpp
    assert found is None if mpp is None else found.x == pytest.approx(mpp)


def test_a_printers_resolution_is_none(pixels, tmp_path):
    file = tmp_path / "dpi.tif"
    tifffile.imwrite(file, pixels, photometric="rgb", tile=(64, 64), resolution=(72, 72), resolutionunit="INCH")
    with pytest.raises(InputError, match=r"states no resolution of 0.02 to 2 µm/px"):
        open_slide(file)


def test_what_is_no_slide_is_refused_in_one_line(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg").rename(tmp_path / "photo.svs")
    (tmp_path / "words.svs").write_text("no slide")
    tifffile.imwrite(tmp_path / "grey.tif", pixels[..., 0])
    with pytest.raises(InputError, match=r"grey.tif is grey; expected a slide of H&E in RGB"):
        open_slide(tmp_path / "grey.tif")
    for name in ("photo.svs", "words.svs"):
        with pytest.raises(InputError, match=rf"{name} cannot be read as a slide .*: replace or remove it") as caught:
            open_slide(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"does not exist"):
        open_slide(tmp_path / "nowhere.svs")


@pytest.mark.parametrize(
    ("reader", "damage"), [(TiffSlide, "cut"), (TiffSlide, "garbage"), (OpenSlideSlide, "garbage")]
)
def test_a_damaged_slide_is_refused_where_it_is_damaged(tmp_path, reader, damage):
    noise = np.random.default_rng(1).integers(0, 255, (1200, 600, 3)).astype(np.uint8)
    file = write_slide(tmp_path / "damaged.tif", noise)
    with file.open("r+b") as opened:
        if damage == "cut":
            opened.truncate(file.stat().st_size // 2)
        else:
            with tifffile.TiffFile(file) as tiff:
                opened.seek(tiff.pages[0].dataoffsets[13])  # of five rows of three tiles
            opened.write(b"garbage" * 500)
    slide = reader(file)
    assert np.array_equal(slide.read(0, LevelBox(0, 0, 50, 50)), noise[:50, :50])
    with pytest.raises(InputError, match=r"cannot be read at x 500, y 1100 of level 0 .*: replace it"):
        slide.read(0, LevelBox(500, 1100, 50, 50))


def test_a_slide_is_the_part_that_was_scanned_and_states_where_it_lies(tmp_path):
    rows, columns = np.mgrid[:128, :192]
    scanned = np.stack([200 - rows, 60 + columns // 2, 90 + rows // 2], axis=2).astype(np.uint8)
    slide = open_slide(write_mirax(tmp_path / "slide.mrxs", scanned, at=(4, 3)))
    assert (slide.size, slide.origin, slide.mpp) == (Size(192, 128), (256, 192), Mpp(0.25, 0.25))
    assert np.abs(slide.read(0, LevelBox(0, 0, 192, 128)).astype(int) - scanned).max() <= 6
    assert np.abs(slide.read(0, LevelBox(70, 50, 100, 60)).astype(int) - scanned[50:110, 70:170]).max() <= 6
    assert LightenedSlide(slide, (0.5, 0.5, 0.5)).origin == (256, 192)
    assert overview(slide, 2).shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("stated", "origin", "size", "shown_from"),
    [
        ((30, 20, 200, 100), (30, 20), (200, 100), (0, 0)),
        ((30, 20, 2000, 1000), (30, 20), (440, 310), (30, 20)),  # beyond the file's edge: large_image shows all
        ((30, -2, 200, 100), (30, 0), (200, 98), (30, 0)),
        ((600, 400, 50, 50), (0, 0), (470, 330), (0, 0)),  # outside
        ((30, 20, 0, 100), (0, 0), (470, 330), (0, 0)),
        ((30, 20, "wide", 100), (0, 0), (470, 330), (0, 0)),
    ],
)
def test_bounds_are_cut_to_the_file_and_levels_to_the_bounds(
    path, pixels, monkeypatch, stated, origin, size, shown_from
):
    names = (f"openslide.bounds-{name}" for name in ("x", "y", "width", "height"))
    properties = dict(zip(names, map(str, stated), strict=True))
    monkeypatch.setattr(openslide.OpenSlide, "properties", properties)
    slide = OpenSlideSlide(path)
    (x, y), (width, height) = origin, size
    assert (slide.origin, slide.size, slide.shown_from) == (origin, size, shown_from)
    assert np.array_equal(slide.read(0, LevelBox(0, 0, width, height)), pixels[y : y + height, x : x + width])
    assert slide.sizes[1] == (round(width / 2), round(height / 2))
    quarter = TiffSlide(path).read(1, LevelBox(x // 2, y // 2, 40, 20))
    assert np.array_equal(slide.read(1, LevelBox(0, 0, 40, 20)), quarter)


def test_a_size_that_no_slide_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(openslide.OpenSlide, "dimensions", (320, 1 << 25))
    about = "Aperio Image Library v11.2.1 \r\n64x64 [0,0 64x64] (64x64) JPEG/RGB Q=70|AppMag = 40|MPP = 0.25"
    blank = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.svs", blank, tile=(64, 64), photometric="rgb", description=about, metadata=None)
    with pytest.raises(InputError, match=r"a.svs states 320x33554432 px, more than any slide: replace it"):
        open_slide(tmp_path / "a.svs")


def test_a_length_of_data_beyond_the_file_is_not_made_room_for(tmp_path, pixels):
    file = strips(tmp_path, pixels)
    with tifffile.TiffFile(file, mode="r+") as opened:
        counts = opened.pages[0].tags["StripByteCounts"]
        counts.overwrite([2**31, *counts.value[1:]], dtype="I")
    with pytest.raises(InputError, match=r"cannot be read at x 0, y 0 of level 0 \(the file ends too early\)"):
        open_slide(file).read(0, LevelBox(0, 0, 10, 10))

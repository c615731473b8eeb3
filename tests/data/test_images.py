import logging
import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from monch_monai.data import ReadableImages, images
from monch_monai.data.images import (
    find_images,
    is_nifti,
    read_class_map,
    read_rgb,
    stem,
    write_class_map,
    write_picture,
)
from monch_monai.errors import InputError
from tests.fakes.pictures import (
    AFFINE,
    RGB24,
    class_picture,
    picture,
    save_16_bit_rgb_png,
    save_jpeg,
    save_last_axis_3,
    save_picture,
    save_rgb24,
)

LOSSLESS = {
    "png": lambda folder: save_picture(folder / "a.png"),
    "upper-case png": lambda folder: save_picture(folder / "a.PNG"),
    "tif": lambda folder: save_picture(folder / "a.tif"),
    "tiff": lambda folder: save_picture(folder / "a.tiff"),
    "bmp": lambda folder: save_picture(folder / "a.bmp"),
    "nifti rgb24": lambda folder: save_rgb24(folder / "a.nii.gz"),
    "nifti rgb24, two axes": lambda folder: save_rgb24(folder / "a.nii", depth=False),
    "nifti last axis 3": lambda folder: save_last_axis_3(folder / "a.nii.gz"),
    "nifti one slice, last axis 3": lambda folder: save_last_axis_3(folder / "a.nii", depth=True),
    "nifti float": lambda folder: save_last_axis_3(folder / "a.nii", pixels=picture().astype(np.float32)),
}


def read_six(path):
    return read_class_map(path, 6)


def refusal(read, path):
    with pytest.raises(InputError) as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


def small_nifti(path, values):
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return path


@pytest.mark.parametrize("kind", LOSSLESS)
def test_rows_columns_and_colours_are_right(tmp_path, kind):
    pixels = read_rgb(LOSSLESS[kind](tmp_path))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, picture())


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg"])
def test_rows_columns_and_colours_of_a_jpeg_are_right(tmp_path, name):
    pixels = read_rgb(save_jpeg(tmp_path / name)).astype(int)
    assert pixels.shape == (40, 70, 3)
    assert np.abs(pixels - picture()).max() <= 6


def test_the_content_decides_and_not_the_picture_suffix(tmp_path):
    save_picture(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    assert np.array_equal(read_rgb(tmp_path / "a.tif"), picture())


def test_grey_comes_out_as_three_equal_channels(tmp_path):
    grey = picture()[..., 1]
    assert np.array_equal(read_rgb(save_picture(tmp_path / "a.png", grey)), np.stack([grey] * 3, axis=-1))


def test_a_palette_is_looked_up(tmp_path):
    Image.fromarray(picture()).quantize(8).save(tmp_path / "a.png")
    assert np.array_equal(read_rgb(tmp_path / "a.png"), picture())


def test_transparent_pixels_come_out_white(tmp_path):
    alpha = np.full((40, 70), 255, dtype=np.uint8)
    alpha[:16, :16] = 0
    alpha[:, 69] = 51  # one fifth
    save_picture(tmp_path / "a.png", np.dstack([picture(), alpha]))
    pixels = read_rgb(tmp_path / "a.png")
    expected = picture()
    expected[:16, :16] = 255
    expected[:, 69] = 244, 234, 240  # 255 less a fifth of what the colour lacks
    assert np.abs(pixels.astype(int) - expected).max() <= 1
    assert np.array_equal(pixels[:, :69], expected[:, :69])


def test_a_transparent_palette_entry_comes_out_white(tmp_path):
    quantized = Image.fromarray(picture()).quantize(8)
    quantized.save(tmp_path / "a.png", transparency=quantized.getpixel((0, 0)))
    expected = picture()
    expected[:16, :16] = 255
    assert np.array_equal(read_rgb(tmp_path / "a.png"), expected)


def test_16_bit_grey_is_refused(tmp_path):
    Image.fromarray(picture()[..., 0].astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert "expected 8 bits a channel: convert it to 8-bit RGB" in refusal(read_rgb, tmp_path / "a.png")


def test_16_bit_colour_is_refused(tmp_path):
    assert "expected 8 bits a channel" in refusal(read_rgb, save_16_bit_rgb_png(tmp_path / "a.png"))


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(picture()[..., 0].astype(np.float32)).save(tmp_path / "a.tif")
    assert "holds float32; expected RGB of 8 bits a channel" in refusal(read_rgb, tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.nii", "a.nii.gz"])
def test_a_text_file_is_refused(tmp_path, name):
    (tmp_path / name).write_text("not\nan image\n" * 40)
    message = refusal(read_rgb, tmp_path / name)
    assert "cannot be read as an image (" in message
    assert message.endswith("replace or remove it")


def test_the_reason_of_a_text_file_does_not_name_it_twice(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    message = f"{tmp_path / 'a.png'} cannot be read as an image (not an image): replace or remove it"
    assert refusal(read_rgb, tmp_path / "a.png") == message


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_picture_is_refused(tmp_path, name, share):
    speckle = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    path = save_picture(tmp_path / name, speckle)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cannot be read as an image" in refusal(read_rgb, path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_truncated_nifti_is_refused(tmp_path, name):
    path = save_rgb24(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-40])
    assert "cannot be read as an image" in refusal(read_rgb, path)


def test_an_empty_or_absent_file_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    refusal(read_rgb, tmp_path / "a.png")
    refusal(read_rgb, tmp_path / "absent.png")


@pytest.mark.parametrize("shape", [(31, 70), (40, 31), (1, 1)])
def test_a_picture_below_32_pixels_is_refused(tmp_path, shape):
    save_picture(tmp_path / "a.png", np.zeros((*shape, 3), dtype=np.uint8))
    message = refusal(read_rgb, tmp_path / "a.png")
    assert f"is {shape[1]}x{shape[0]} px; at least 32x32 is needed" in message


def test_a_picture_of_32_pixels_is_read(tmp_path):
    assert read_rgb(save_picture(tmp_path / "a.png", np.zeros((32, 32, 3), dtype=np.uint8))).shape == (32, 32, 3)


@pytest.mark.parametrize("shape", [(70, 40), (70, 40, 4), (70, 40, 2, 3), (70, 40, 1, 1)])
def test_a_nifti_that_is_no_colour_picture_is_refused(tmp_path, shape):
    path = small_nifti(tmp_path / "a.nii", np.zeros(shape, dtype=np.uint8))
    message = f"is of shape {list(shape)}; expected RGB24 or a last axis of 3"
    assert message in refusal(read_rgb, path)


@pytest.mark.parametrize("value", [-1, 256, 0.5, np.nan, np.inf])
def test_a_nifti_of_other_values_is_refused(tmp_path, value):
    values = picture().swapaxes(0, 1).astype(np.float32)
    values[3, 4, 1] = value
    message = refusal(read_rgb, small_nifti(tmp_path / "a.nii", values))
    assert "expected whole ones, 0 to 255" in message


def test_a_class_map_comes_back_from_a_png(tmp_path):
    source = save_picture(tmp_path / "a.png")
    write_class_map(tmp_path / "a_classes.png", class_picture(), like=source)
    with Image.open(tmp_path / "a_classes.png") as written:
        assert (written.mode, written.size) == ("L", (70, 40))
    assert np.array_equal(read_class_map(tmp_path / "a_classes.png", 6), class_picture())


@pytest.mark.parametrize(
    ("save", "shape"),
    [
        (lambda path: save_rgb24(path), (70, 40, 1)),
        (lambda path: save_rgb24(path, depth=False), (70, 40)),
        (lambda path: save_last_axis_3(path), (70, 40)),
        (lambda path: save_last_axis_3(path, depth=True), (70, 40, 1)),
    ],
)
def test_a_class_map_comes_back_from_nifti_with_the_geometry_of_the_image(tmp_path, save, shape):
    source = save(tmp_path / "a.nii.gz")
    write_class_map(tmp_path / "a_classes.nii.gz", class_picture(), like=source)
    written = nib.load(tmp_path / "a_classes.nii.gz")
    assert (written.shape, written.get_data_dtype()) == (shape, np.uint8)
    assert np.array_equal(written.affine, AFFINE)
    assert np.asarray(written.dataobj).reshape(70, 40)[69, 6] == 4  # column first
    assert np.array_equal(read_class_map(tmp_path / "a_classes.nii.gz", 6), class_picture())


def test_writing_replaces_what_was_there_and_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "a.png").write_text("old")
    write_picture(tmp_path / "a.png", picture())
    assert np.array_equal(read_rgb(tmp_path / "a.png"), picture())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_failed_writing_leaves_what_was_there(tmp_path):
    (tmp_path / "a.png").write_text("old")
    with pytest.raises(TypeError):
        write_picture(tmp_path / "a.png", np.zeros((4, 4, 7), dtype=np.uint8))
    assert (tmp_path / "a.png").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("value", [6, 254])
def test_a_class_map_of_another_value_is_refused(tmp_path, value):
    values = class_picture()
    values[3, 3] = value
    message = refusal(read_six, save_picture(tmp_path / "a.png", values))
    assert f"holds {value}; its class map holds 0 to 5 and 255" in message


def test_a_class_map_of_three_channels_is_refused(tmp_path):
    assert "expected one channel, got shape [40, 70, 3]" in refusal(read_six, save_picture(tmp_path / "a.png"))


def test_a_class_map_of_fractions_is_refused(tmp_path):
    path = small_nifti(tmp_path / "a.nii", np.full((70, 40), 0.5, dtype=np.float32))
    assert "holds 0.5" in refusal(read_six, path)


def test_a_damaged_class_map_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    assert "cannot be read as a class map" in refusal(read_six, tmp_path / "a.png")


@pytest.mark.parametrize(
    ("path", "name", "nifti"),
    [
        ("x/a.b.png", "a.b", False),
        ("x/a.nii.gz", "a", True),
        ("x/a.NII.GZ", "a", True),
        ("x/a.nii", "a", True),
        ("x/a.gz.jpg", "a.gz", False),
    ],
)
def test_stem_is_the_name_without_the_image_suffix(path, name, nifti):
    assert (stem(path), is_nifti(path)) == (name, nifti)


def test_images_of_a_folder_are_sorted_and_other_files_left_out(tmp_path):
    for name in ("b.PNG", "a.tif", "c.nii.gz", "notes.txt", "d.npy", "e.gz", ".hidden", "._a.tif"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "z.png").touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["a.tif", "b.PNG", "c.nii.gz"]


def test_one_image_is_found_as_itself(tmp_path):
    (tmp_path / "a.jpeg").touch()
    assert find_images(str(tmp_path / "a.jpeg")) == [tmp_path / "a.jpeg"]


def test_no_path_is_refused():
    with pytest.raises(InputError, match="no images given: give --dataset_dir"):
        find_images(None)


def test_a_path_that_is_neither_folder_nor_image_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path / "absent", tmp_path / "notes.txt"):
        assert "is neither a folder nor an image (.png, .jpg," in refusal(find_images, path)


def test_a_folder_without_images_is_refused(tmp_path):
    assert "holds no image: give a folder with at least an image (.png," in refusal(find_images, tmp_path)


@pytest.mark.parametrize("twins", [("a.jpg", "a.png"), ("a.nii", "a.nii.gz")])
def test_two_images_with_the_same_results_are_refused(tmp_path, twins):
    for name in twins:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{twins[0]} and {twins[1]} would both write a_classes: rename one"):
        find_images(tmp_path)


@pytest.fixture
def mixed(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    save_picture(folder / "a.png")
    (folder / "b.png").write_text("not an image")
    save_jpeg(folder / "c.jpg")
    save_picture(folder / "d.png", np.zeros((8, 8, 3), dtype=np.uint8))
    return folder


def test_readable_images_are_items_and_the_others_are_listed_with_the_reason(mixed, tmp_path, caplog):
    with caplog.at_level(logging.ERROR):
        images = ReadableImages(mixed, tmp_path / "out")
    assert images.items == [{"image": str(mixed / "a.png")}, {"image": str(mixed / "c.jpg")}]
    assert list(images.unreadable) == [mixed / "b.png", mixed / "d.png"]
    assert "(not an image)" in images.unreadable[mixed / "b.png"]
    assert "is 8x8 px" in images.unreadable[mixed / "d.png"]
    assert [record.message for record in caplog.records] == list(images.unreadable.values())


def test_an_image_without_colour_is_warned_of(tmp_path, caplog):
    Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64).astype(np.uint8)).save(tmp_path / "grey.png")
    with caplog.at_level(logging.WARNING):
        assert len(ReadableImages(tmp_path, tmp_path / "out").items) == 1
    (record,) = caplog.records
    assert record.message.startswith(f"{tmp_path / 'grey.png'} has no colour")


@pytest.mark.parametrize(("difference", "warnings"), [(8, 1), (9, 0)])
def test_one_coloured_pixel_is_a_colour(tmp_path, caplog, difference, warnings):
    pixels = np.full((64, 64, 3), 200, np.uint8)
    pixels[5, 7, 1] -= difference
    save_picture(tmp_path / "a.png", pixels)
    with caplog.at_level(logging.WARNING):
        ReadableImages(tmp_path, tmp_path / "out")
    assert len(caplog.records) == warnings


def test_no_readable_image_at_all_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    (tmp_path / "b.png").write_text("nor this")
    with pytest.raises(InputError, match=r"none of the 2 images can be read: .*a\.png cannot be read"):
        ReadableImages(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("one", [True, False])
def test_the_folder_of_the_images_is_refused_as_output_dir(mixed, one):
    roundabout = mixed.parent / "images" / ".." / "images"
    with pytest.raises(InputError, match="is the folder of the images: give another --output_dir"):
        ReadableImages(mixed / "a.png" if one else mixed, roundabout)


def test_the_fingerprint_follows_names_and_contents_of_the_readable_images(mixed, tmp_path):
    def fingerprint():
        return ReadableImages(mixed, tmp_path / "out").fingerprint

    first = fingerprint()
    (mixed / "b.png").unlink()
    assert fingerprint() == first
    (mixed / "a.png").rename(mixed / "a2.png")
    renamed = fingerprint()
    save_picture(mixed / "a2.png", picture()[::-1])
    assert len({first, renamed, fingerprint()}) == 3


def test_rgb24_records_are_red_green_blue(tmp_path):
    records = np.zeros((32, 32, 1), dtype=RGB24)
    records["R"], records["G"], records["B"] = 10, 20, 30
    path = small_nifti(tmp_path / "a.nii.gz", records)
    assert read_rgb(path)[0, 0].tolist() == [10, 20, 30]


def test_the_largest_page_of_a_tiff_is_the_image_and_a_stack_is_refused_as_one(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(picture()[:33, :34].copy(), photometric="rgb", metadata=None)
        file.write(picture(), photometric="rgb", metadata=None)
    assert np.array_equal(read_rgb(tmp_path / "a.tif"), picture())
    tifffile.imwrite(tmp_path / "a.tif", np.stack([picture()] * 4), photometric="rgb")
    assert "holds 4 pages of one size; expected one RGB picture" in refusal(read_rgb, tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", picture() / 255, photometric="rgb")
    assert "holds float64; expected RGB of 8 bits" in refusal(read_rgb, tmp_path / "a.tif")


def test_more_pixels_than_an_image_may_have_are_refused_with_advice(tmp_path, monkeypatch):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(png + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    monkeypatch.setattr(images, "MOST_PIXELS", 2000)
    for path in (tmp_path / "a.png", save_picture(tmp_path / "b.tif")):
        assert "cut it, or make a slide of it for inference_wsi.json, such as by vips" in refusal(read_rgb, path)


@pytest.mark.parametrize(("stated", "given", "warned"), [(0.5, 0.25, True), (0.25, 0.25, False), (0.5, None, False)])
def test_a_tiff_that_states_another_resolution_is_named(tmp_path, caplog, stated, given, warned):
    resolution = {"resolution": (1e4 / stated,) * 2, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", metadata=None, **resolution)
    save_picture(tmp_path / "b.png")
    with caplog.at_level(logging.WARNING):
        ReadableImages(tmp_path, tmp_path / "out", mpp=given)
    words = "a.tif states 0.5 µm/px, and is segmented at --mpp 0.25: is that right?"
    assert [record.getMessage().endswith(words) for record in caplog.records] == [True] * warned

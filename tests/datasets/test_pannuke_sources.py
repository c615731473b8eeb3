import logging
import shutil
import zipfile

import numpy as np
import pytest

from monch_monai.datasets.pannuke import examine_source, sources
from monch_monai.datasets.pannuke.published import FOLDS
from monch_monai.datasets.pannuke.sources import find_folds
from monch_monai.errors import InputError
from tests.fakes.pannuke import FoldArrays, make_fold, paths, write_folders, write_parquet, write_zip

LAYOUTS = ("official", "folder", "by kind", "file names")
OFFICIAL = paths(1)


def changed(fold, **arrays):
    return fold._replace(**arrays)


def with_value(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def refusal(source):
    """The one line with which reading the whole source is refused."""
    with pytest.raises(InputError) as caught:
        [list(found.tiles()) for found in find_folds(source).values()]
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def same_tiles(ones, others):
    return all(
        all(np.array_equal(a, b) for a, b in zip(one[:3], other[:3], strict=True)) and one[3:] == other[3:]
        for one, other in zip(ones, others, strict=True)
    )


def check_round_trip(tiles, fold):
    """Images, class maps and instance maps are those of the arrays, pixel by pixel."""
    for tile, image, masks, tissue in zip(tiles, *fold, strict=True):
        assert (tile.image.dtype, image.dtype) == (np.uint8, np.float64)
        assert np.array_equal(tile.image, image)
        for c in range(5):
            assert np.array_equal(tile.classes == c + 1, masks[..., c] > 0)
        numbers = [(c, i) for c in range(5) for i in sorted(set(masks[..., c].flat) - {0})]
        assert tile.instances.max() == len(numbers)
        for number, (c, i) in enumerate(numbers, start=1):
            assert np.array_equal(tile.instances == number, masks[..., c] == i)
        assert tile.tissue == tissue


@pytest.fixture(scope="module")
def archive(fold, tmp_path_factory):
    return write_zip(tmp_path_factory.mktemp("archive"), 1, fold)


@pytest.fixture
def folders(fold, tmp_path):
    """The arrays of fold 1 as published, and what they were made of."""
    write_folders(tmp_path / "source", 1, fold)
    return tmp_path / "source"


def test_a_zip_comes_back_exactly(archive, fold):
    check_round_trip(find_folds(archive)[1].tiles(), fold)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_in_every_layout_come_back_exactly(tmp_path, fold, layout):
    write_folders(tmp_path, 3, fold, layout)
    found = find_folds(tmp_path)
    assert list(found) == [3]
    check_round_trip(found[3].tiles(), fold)


def test_zip_arrays_and_parquet_give_the_same_tiles(tmp_path, archive, folders, fold):
    write_parquet(tmp_path / "parquet", 1, fold)
    from_zip, from_arrays, from_parquet = (
        list(find_folds(source)[1].tiles()) for source in (archive, folders, tmp_path / "parquet")
    )
    assert same_tiles(from_zip, from_arrays)
    for one, other in zip(from_zip, from_parquet, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
        assert one.tissue == other.tissue


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_tiles_from_a_given_one_on_are_the_rest(archive, folders, start):
    for source in (archive, folders):
        found = find_folds(source)[1]
        assert same_tiles(found.tiles(start), list(found.tiles())[start:])


@pytest.mark.parametrize("layout", ["official", "folder"])
def test_the_folder_of_one_fold_is_a_source(tmp_path, fold, layout):
    write_folders(tmp_path, 2, fold, layout)
    (lone,) = tmp_path.iterdir()
    assert {number: found.count for number, found in find_folds(lone).items()} == {2: 3}


def test_a_source_may_be_named_relative_to_the_working_folder(tmp_path, fold, monkeypatch):
    write_folders(tmp_path, 2, fold, "folder")
    monkeypatch.chdir(tmp_path / "fold2")
    assert list(find_folds(".")) == [2]


def test_folds_may_come_in_different_forms(tmp_path, fold):
    write_zip(tmp_path, 3, fold)
    write_folders(tmp_path, 1, fold)
    write_parquet(tmp_path, 2, fold)
    assert list(find_folds(tmp_path)) == [1, 2, 3]


def test_a_zip_comes_before_what_was_extracted_from_it(tmp_path, fold):
    write_zip(tmp_path, 1, fold)
    write_folders(tmp_path, 1, changed(fold, types=np.array(["Liver"] * 3)))
    assert [tile.tissue for tile in find_folds(tmp_path)[1].tiles()] == list(fold.types)


def test_images_of_8_bits_and_masks_of_16_are_as_good(tmp_path, fold):
    write_folders(tmp_path, 1, FoldArrays(fold.images.astype(np.uint8), fold.masks.astype(np.uint16), fold.types))
    for tile, image in zip(find_folds(tmp_path)[1].tiles(), fold.images, strict=True):
        assert np.array_equal(tile.image, image)


def test_junk_of_a_mac_is_left_alone(tmp_path, folders, archive):
    shutil.copy(archive, tmp_path / "source" / "fold_1.zip")
    (folders / "Fold 1/images/fold1/._images.npy").write_text("junk")
    (folders / "__MACOSX/Fold 1/images/fold1").mkdir(parents=True)
    (folders / "__MACOSX/Fold 1/images/fold1/images.npy").write_text("junk")
    (folders / "._fold_1.zip").write_text("junk")
    (folders / ".DS_Store").write_text("junk")
    assert find_folds(folders)[1].count == 3


def test_unfinished_work_in_the_source_is_left_alone(folders):
    (folders / ".out.partial/fold1").mkdir(parents=True)
    (folders / ".out.partial/fold1/images.npy").write_text("half an array")
    assert find_folds(folders)[1].count == 3


def test_other_files_are_left_alone(folders):
    (folders / "notes.txt").write_text("notes")
    np.save(folders / "Fold 1" / "embeddings.npy", np.zeros(3))
    with zipfile.ZipFile(folders / "papers.zip", "w") as papers:
        papers.writestr("paper.pdf", "paper")
    assert list(find_folds(folders)) == [1]


def test_a_source_that_does_not_exist_is_refused(tmp_path):
    assert refusal(tmp_path / "absent").startswith(f"source {tmp_path / 'absent'} does not exist: give a folder with")


@pytest.mark.parametrize("name", ["", "thesis.txt", "images.npy", "masks.zip"])
def test_a_source_without_a_fold_is_refused(tmp_path, name):
    source = tmp_path / "source"
    source.mkdir()
    if name.endswith(".zip"):
        zipfile.ZipFile(source / name, "w").close()
    elif name:
        (source / name).write_text("something else")
    assert refusal(source).startswith(f"source {source} holds no fold of PanNuke: expected are fold_1.zip")


def test_a_fourth_fold_is_refused(tmp_path, fold):
    write_folders(tmp_path, 4, fold)
    assert refusal(tmp_path).endswith("holds a fold 4; PanNuke has folds 1, 2 and 3")


def test_a_path_that_names_two_folds_is_refused(folders):
    (folders / "Fold 1/images/fold1").rename(folders / "Fold 1/images/fold2")
    assert "names two folds (1 and 2): are they swapped?" in refusal(folders)


def test_an_archive_named_after_another_fold_is_refused(archive, tmp_path):
    shutil.copy(archive, tmp_path / "fold_2.zip")
    message = refusal(tmp_path)
    assert message.startswith("fold_2.zip/Fold 1/")
    assert message.endswith("names two folds (1 and 2): are they swapped?")


@pytest.mark.parametrize("form", ["official", "zip", "parquet"])
def test_folds_with_one_anothers_number_of_tiles_are_refused(tmp_path, fold, form, monkeypatch):
    for number, tiles in ((1, 2), (2, 3), (3, 4)):
        monkeypatch.setitem(FOLDS, number, FOLDS[number]._replace(tiles=tiles))
    if form == "official":
        write_folders(tmp_path, 1, fold)
    else:
        {"zip": write_zip, "parquet": write_parquet}[form](tmp_path, 1, fold)
    message = "fold 1 has 3 tiles, which is fold 2's number (fold 1 has 2): the folds are swapped"
    assert refusal(tmp_path) == message


def test_a_fold_given_twice_is_refused(folders, fold):
    write_folders(folders, 1, fold, "folder")
    message = refusal(folders)
    assert message.startswith("fold 1 has images twice, in ")
    assert str(folders / OFFICIAL["images"]) in message
    assert str(folders / "fold1/images.npy") in message


def test_two_copies_of_an_archive_are_refused(archive, tmp_path):
    for name in ("fold_1.zip", "fold_1 (1).zip"):
        shutil.copy(archive, tmp_path / name)
    assert "fold 1 has images twice, in " in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["images", "masks", "types"])
def test_a_missing_array_is_refused(folders, kind):
    (folders / OFFICIAL[kind]).unlink()
    assert refusal(folders).startswith(f"fold 1 has no {kind}.npy (found was {folders}")


def test_a_zip_without_masks_is_refused(archive, tmp_path):
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(tmp_path / "fold_1.zip", "w") as part:
        for kind in ("images", "types"):
            part.writestr(OFFICIAL[kind], whole.read(OFFICIAL[kind]))
    assert refusal(tmp_path).startswith(f"fold 1 has no masks.npy (found was {tmp_path / 'fold_1.zip'}: Fold 1/images/")


@pytest.mark.parametrize("kind", ["images", "masks", "types"])
def test_unequal_numbers_of_tiles_are_refused(tmp_path, fold, kind):
    write_folders(tmp_path, 1, changed(fold, **{kind: getattr(fold, kind)[:2]}))
    message = refusal(tmp_path)
    assert message.startswith("fold 1 has unequal numbers of tiles: ")
    assert f"2 in {tmp_path / OFFICIAL[kind]}" in message


SHAPES = {
    "masks": [(256, 256, 5), (256, 256, 7), (6, 256, 256), (256, 256)],
    "images": [(256, 256, 4), (3, 256, 256), (128, 256, 3), (256, 256)],
}


@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind, shapes in SHAPES.items() for shape in shapes])
def test_arrays_of_another_shape_are_refused(folders, kind, shape):
    np.save(folders / OFFICIAL[kind], np.zeros((3, *shape), np.uint8))
    channels = 6 if kind == "masks" else 3
    assert refusal(folders) == (
        f"{folders / OFFICIAL[kind]} has shape {[3, *shape]}; expected [N, 256, 256, {channels}]"
    )


@pytest.mark.parametrize(
    ("tissue", "near"),
    [("Bile_duct", "Bile-duct"), ("Adrenal gland", "Adrenal_gland"), ("Head & Neck", "HeadNeck"), ("breast", "Breast")],
)
def test_an_unknown_tissue_is_refused_with_the_nearest_name(tmp_path, fold, tissue, near):
    write_folders(tmp_path, 1, changed(fold, types=np.array(["Colon", tissue, "Liver"])))
    assert refusal(tmp_path).endswith(f"holds the tissue {tissue!r}, none of PanNuke's nineteen (nearest: {near})")


def test_pickled_tissues_are_refused_and_not_opened(folders):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was opened",)

    np.save(folders / OFFICIAL["types"], np.array([Trap()] * 3, dtype=object), allow_pickle=True)
    assert "types.npy holds Python objects; expected plain rows as in the published files" in refusal(folders)


def test_an_array_with_columns_first_is_refused(folders, fold):
    np.save(folders / OFFICIAL["images"], np.asfortranarray(fold.images))
    assert "images.npy holds columns first" in refusal(folders)


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("missing", [1, 256 * 256, 2_000_000])
def test_an_array_cut_off_is_refused(folders, kind, missing):
    path = folders / OFFICIAL[kind]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - missing)
    assert refusal(folders) == f"{path} is cut off: {size - missing:,} of {size:,} bytes; fetch it again"


@pytest.mark.parametrize("keep", [0, 5, 60])
def test_an_array_cut_off_in_its_header_is_refused(folders, keep):
    path = folders / OFFICIAL["masks"]
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(folders)
    assert message.startswith(f"{path} cannot be read as .npy (")
    assert message.endswith("): fetch it again")


def test_an_array_cut_off_while_it_is_read_is_refused(folders):
    path = folders / OFFICIAL["images"]
    tiles = find_folds(folders)[1].tiles()
    next(tiles)
    with path.open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(InputError, match=r"images\.npy is damaged \(the file ends too early\): fetch it again"):
        list(tiles)


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_zip_is_refused(archive, tmp_path, share):
    data = archive.read_bytes()
    (tmp_path / "fold_1.zip").write_bytes(data[: int(share * len(data))])
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path / 'fold_1.zip'} is no whole zip archive (")
    assert message.endswith(f"; it has {int(share * len(data)):,} of 700,275,281 bytes): fetch it again")


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_corrupted_member_of_a_zip_is_refused(archive, tmp_path, kind, share):
    path = tmp_path / "fold_1.zip"
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as whole:
        member = whole.getinfo(OFFICIAL[kind])
    start = member.header_offset + 100 + int(share * (member.compress_size - 200))
    data[start : start + 40] = bytes(255 - byte for byte in data[start : start + 40])
    path.write_bytes(data)
    message = refusal(path)
    assert message.startswith(f"{path}: {OFFICIAL[kind]}")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_one_wrong_byte_in_an_uncompressed_zip_is_refused_though_its_value_could_be_right(archive, tmp_path, kind):
    path = tmp_path / "fold_1.zip"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(path, "w") as plain:
        for member in OFFICIAL.values():
            plain.writestr(member, whole.read(member))
        offset = plain.getinfo(OFFICIAL[kind]).header_offset
    data = bytearray(path.read_bytes())
    value, other = (np.float64(v).tobytes() for v in ((120, 121) if kind == "images" else (20, 21)))
    place = data.index(value, offset + 300)
    data[place : place + 8] = other
    path.write_bytes(data)
    assert f"{OFFICIAL[kind]} is damaged (Bad CRC-32" in refusal(path)


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_compressed_member_of_another_checksum_is_refused(archive, tmp_path, kind):
    with zipfile.ZipFile(archive) as whole:
        checksum = whole.getinfo(OFFICIAL[kind]).CRC.to_bytes(4, "little")
    data = archive.read_bytes().replace(checksum, bytes(4))
    (tmp_path / "fold_1.zip").write_bytes(data)
    assert f"{OFFICIAL[kind]} is damaged (Bad CRC-32" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [(0.5, "values from 0"), (float("nan"), "values from nan"), (-1, "values from -1"), (256, "to 256;")],
)
def test_pixels_that_are_no_whole_numbers_from_0_to_255_are_refused(folders, fold, value, quoted):
    images = with_value(fold.images, (1, slice(0, 2), 0, 0), [value, 0])
    np.save(folders / OFFICIAL["images"], images)
    message = refusal(folders)
    assert message.startswith(f"{folders / OFFICIAL['images']}#1: values from ")
    assert quoted in message
    assert message.endswith("; whole numbers 0 to 255 are expected")


def test_images_scaled_to_0_to_1_are_refused(tmp_path, fold):
    write_folders(tmp_path, 1, changed(fold, images=fold.images / 255))
    assert "#0: values from 0" in refusal(tmp_path)


def test_a_damaged_mask_is_named_with_its_tile(folders, fold):
    np.save(folders / OFFICIAL["masks"], with_value(fold.masks, (2, 0, 0, 3), -1))
    assert refusal(folders).startswith(f"{folders / OFFICIAL['masks']}#2: masks hold values that are no instance ids")


def test_bgr_images_are_refused(tmp_path, fold):
    write_folders(tmp_path, 1, changed(fold, images=np.ascontiguousarray(fold.images[..., ::-1])))
    with pytest.raises(InputError, match=r"fold1: nuclei are redder than what surrounds them .*the images look BGR"):
        examine_source(tmp_path)


@pytest.fixture
def published(fold, monkeypatch):
    """The fold's own numbers as the published ones, each class with another."""
    nuclei = [sum(len(np.unique(masks[..., c])) - 1 for masks in fold.masks) for c in range(5)]
    spread = [n * factor for n, factor in zip(nuclei, (1, 2, 3, 4, 5), strict=True)]
    monkeypatch.setitem(FOLDS, 1, FOLDS[1]._replace(tiles=3, nuclei=tuple(spread)))
    masks = fold.masks.copy()
    for c in range(5):
        split = np.arange(256 * 256).reshape(256, 256) % (c + 1)
        masks[..., c] = np.where(masks[..., c] > 0, masks[..., c] * (c + 1) + split, 0)
    return changed(fold, masks=masks)


def test_a_fold_with_the_published_numbers_is_said_to_be_so(tmp_path, published):
    write_folders(tmp_path, 1, published)
    assert "fold1: nuclei of each class are as published" in examine_source(tmp_path)


@pytest.mark.parametrize(
    ("order", "named"),
    [
        (
            (4, 3, 2, 1, 0),
            "epithelial is neoplastic, dead is inflammatory, inflammatory is dead, neoplastic is epithelial",
        ),
        ((0, 1, 3, 2, 4), "dead is connective, connective is dead"),
        (
            (0, 4, 1, 2, 3),
            "connective is inflammatory, dead is connective, epithelial is dead, inflammatory is epithelial",
        ),
    ],
    ids=["reversed", "connective and dead swapped", "epithelial second"],
)
def test_permuted_channels_are_refused_by_their_numbers_of_nuclei(tmp_path, published, order, named):
    write_folders(tmp_path, 1, changed(published, masks=np.ascontiguousarray(published.masks[..., [*order, 5]])))
    with pytest.raises(InputError) as caught:
        examine_source(tmp_path)
    assert str(caught.value) == f"fold1: by their numbers of nuclei the mask channels are in another order: {named}"


def test_other_numbers_of_nuclei_are_reported(tmp_path, fold, monkeypatch):
    monkeypatch.setitem(FOLDS, 1, FOLDS[1]._replace(tiles=3))
    write_folders(tmp_path, 1, fold)
    (line,) = [line for line in examine_source(tmp_path) if "nuclei by class" in line]
    assert line.endswith("are not the published [26201, 10820, 16388, 967, 8842]")


def test_another_number_of_tiles_and_missing_folds_are_reported(folders):
    assert examine_source(folders)[-3:] == [
        "fold1 is not the published one: 3 tiles in place of 2,656",
        "fold2 is missing: splits that train or validate on it are left out, others have no test part",
        "fold3 is missing: splits that train or validate on it are left out, others have no test part",
    ]


def test_an_archive_that_is_not_the_published_one_is_warned_of(archive, caplog):
    find_folds(archive)
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.getMessage().startswith(f"{archive} is not one of the published archives (SHA-256 ")


def test_the_published_archive_is_known_by_its_checksum(archive, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sources, "sha256", lambda path: FOLDS[1].archive_sha256)
    find_folds(archive)
    assert "fold_1.zip is the published archive of fold 1 (SHA-256)" in caplog.messages
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]


def test_a_changed_file_has_another_identity(folders, fold):
    before = find_folds(folders)[1].identity
    assert find_folds(folders)[1].identity == before
    np.save(folders / OFFICIAL["images"], fold.images[::-1].copy())
    assert find_folds(folders)[1].identity != before


def test_a_zip_of_other_contents_has_another_identity(archive, tmp_path, fold):
    other = write_zip(tmp_path, 1, changed(fold, images=fold.images[::-1]))
    assert find_folds(other)[1].identity != find_folds(archive)[1].identity


def test_a_moved_zip_has_the_same_identity(archive, tmp_path):
    shutil.copyfile(archive, tmp_path / "fold_1.zip")
    assert find_folds(tmp_path)[1].identity == find_folds(archive)[1].identity


def test_a_fold_without_tiles_is_refused(tmp_path):
    write_folders(tmp_path, 1, FoldArrays(*(array[:0] for array in make_fold(1))))
    assert "has no tiles: fetch it again" in refusal(tmp_path)


def test_a_prepared_dataset_inside_the_source_is_no_fold(tmp_path):
    write_folders(tmp_path, 1, make_fold(1))
    (tmp_path / "out" / "fold1").mkdir(parents=True)
    (tmp_path / "out" / "manifest.json").touch()
    (tmp_path / "out" / "fold1" / "images.npy").touch()
    assert list(find_folds(tmp_path)) == [1]


def test_an_archive_packed_by_another_method_is_refused(tmp_path):
    path = write_zip(tmp_path, 1, make_fold(1))
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = 0
        while (start := data.find(signature, start)) >= 0:
            data[start + at] = 9  # Deflate64, as Windows writes large files
            start += 4
    path.write_bytes(data)
    assert "cannot be read from the archive (That compression method is not supported): extract it first" in refusal(
        tmp_path
    )


def test_linked_folds_are_found(tmp_path):
    write_folders(tmp_path / "real", 1, make_fold(1))
    (tmp_path / "linked").mkdir()
    for folder in (tmp_path / "real").iterdir():
        (tmp_path / "linked" / folder.name).symlink_to(folder)
    found = find_folds(tmp_path / "linked")
    assert same_tiles(found[1].tiles(), find_folds(tmp_path / "real")[1].tiles())

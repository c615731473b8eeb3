"""DICOM files whose large elements and long sequences are never in memory whole."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import correct_ambiguous_vr, write_data_element, write_file_meta_info
from pydicom.tag import ItemDelimiterTag, ItemTag, SequenceDelimiterTag, Tag

from monch_monai.errors import InputError

UNDEFINED = 0xFFFFFFFF
MOST = UNDEFINED - 1
"""Bytes of an element: DICOM's lengths have 32 bits."""
PIECE = 1 << 18
"""Bytes that are copied at once."""


class Bulk(NamedTuple):
    """An element's value as it is read from elsewhere: value representation, bytes, and pieces that add up to them."""

    vr: str
    length: int
    pieces: Iterable[bytes]


Streams = Mapping[tuple[int, str], Bulk | Iterable[Dataset]]
"""Values by the `id` of the dataset or item that has the element, and its keyword: bulk, or the items of a sequence."""


def write_dicom(path: Path, dataset: Any, streams: Streams) -> None:
    """Writes a dataset with its file meta information in Explicit VR Little Endian (PS3.10).

    Args:
        path: to write.
        dataset: with `file_meta`; elements that come from streams may be any value.
        streams: values that take the place of the dataset's.

    Raises:
        InputError: an element is of more than 4 GiB.
        OSError: the disk is full.
    """
    for (_, keyword), stream in streams.items():
        if isinstance(stream, Bulk) and stream.length > MOST:
            size = f"{keyword} of {path.name} would be of {stream.length / 2**30:.1f} GiB, and DICOM holds 4"
            raise InputError(f"{size}: leave that file's format out of --write, and run again to resume")
    encodings = convert_encodings(dataset.get("SpecificCharacterSet", "ISO_IR 6"))
    correct_ambiguous_vr(dataset, True)
    with path.open("wb") as raw:
        raw.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(raw, dataset.file_meta)
        file = DicomFileLike(raw)
        file.is_little_endian, file.is_implicit_VR = True, False
        _write(file, dataset, encodings, streams)


def _write(file: Any, dataset: Dataset, encodings: list[str], streams: Streams) -> None:
    """Writes the elements; sequences of undefined length, since their items' lengths are not known before."""
    for element in dataset:
        stream = streams.get((id(dataset), element.keyword))
        if isinstance(stream, Bulk):
            _head(file, element.tag, stream.vr, stream.length + stream.length % 2)
            for piece in stream.pieces:
                file.write(piece)
            file.write(b"\0" * (stream.length % 2))
        elif element.VR == "SQ":
            _head(file, element.tag, "SQ", UNDEFINED)
            for item in stream if stream is not None else element.value:
                _head(file, ItemTag, "", UNDEFINED)
                _write(file, item, encodings, streams)
                _head(file, ItemDelimiterTag, "", 0)
            _head(file, SequenceDelimiterTag, "", 0)
        else:
            write_data_element(file, element, encodings)


def _head(file: Any, tag: Any, vr: str, length: int) -> None:
    file.write_tag(Tag(tag))
    file.write(vr.encode() + b"\0\0" if vr else b"")
    file.write_UL(length)


def digest_of(*files: IO[bytes]) -> str:
    """SHA-256 of the contents of files, one after the other, each after its length."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.seek(0, 2)} ".encode())
        for piece in pieces(file):
            digest.update(piece)
    return digest.hexdigest()


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """The contents of a file from its beginning."""
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece

"""The folder of images and labels that the server works on."""

import re
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.data.images import SUFFIXES as PICTURE_SUFFIXES
from monch_monai.data.images import stem
from monch_monai.errors import InputError
from monch_monai.label.annotations import SUFFIXES as ANNOTATION_SUFFIXES
from monch_monai.label.errors import http_errors, not_found
from monch_monai.label.images import SUFFIXES, open_image
from monch_monai.label.labels import requested_part
from monch_monai.label.training_tiles import Labelled

FINAL = "final"
CLASSES = "classes"
"""What a label's info has the names of the classes under, in the order of the values of class maps."""
PLAIN = re.compile(r"[^/\\\0]+")
"""What an image's id or a label's tag may be, so that it stays a file's or folder's name; not `.` or `..`."""


class Studies(LocalDatastore):
    """MONAI Label's local datastore, which takes what MONCH can read and refuses the rest before it is stored.

    An image's id is its file's name without the suffix, and so are its labels', in `labels/TAG/`. `mpp` is as in
    `open_image`, the rest as in `LocalDatastore`.
    """

    def __init__(
        self,
        folder: str,
        mpp: float | None = None,
        class_table: ClassTable = PANNUKE,
        auto_reload: bool = False,
        read_only: bool = False,
    ) -> None:
        self.mpp, self.class_table = mpp, class_table
        patterns = [f"*{suffix}" for suffix in dict.fromkeys((*SUFFIXES, *ANNOTATION_SUFFIXES))]
        super().__init__(folder, extensions=patterns, auto_reload=auto_reload, read_only=read_only)

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        is_images = Path(path).resolve() == Path(self._datastore.image_path()).resolve()
        suffixes = SUFFIXES if is_images else (*PICTURE_SUFFIXES, *ANNOTATION_SUFFIXES)
        names = sorted(entry.name for entry in Path(path).iterdir())
        return {name: name for name in names if name.lower().endswith(suffixes)}

    def _to_id(self, file: str) -> tuple[str, str]:
        """Name and suffix; of `a.b.png`, `a.b` and `.png`."""
        return stem(file), file[len(stem(file)) :]

    def known(self, image_id: str) -> Path:
        """File of an image; responds with 404 where there is none."""
        uri = self.get_image_uri(image_id)
        if not uri or not Path(uri).is_file():
            raise not_found(f"there is no image {image_id!r} in the studies folder")
        return Path(uri)

    def labelled(self, image_id: str) -> Labelled:
        """An image with its final label.

        Raises:
            InputError: the label is a class map that was stored with other classes.
        """
        info = self.get_label_info(image_id, FINAL)
        label, names = Path(self.get_label_uri(image_id, FINAL)), self.class_table.names
        if info.get(CLASSES, names) != names and not label.name.lower().endswith(ANNOTATION_SUFFIXES):
            found = f"the label of {image_id} is a map of {', '.join(info[CLASSES])}; the server has {', '.join(names)}"
            raise InputError(f"{found}: start it with the words of the label, or submit the label again")
        return Labelled(image_id, self.known(image_id), label, requested_part(info), self.mpp, self.class_table)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Stores an image, unless it cannot be read or its id is no plain name."""
        image_id = image_id or self._to_id(Path(image_filename).name)[0]
        with http_errors(image_filename):
            _check_plain("image id", image_id)
            if not image_filename.lower().endswith(SUFFIXES):
                raise InputError(f"image {image_id} is a file of unknown kind; expected one of {', '.join(SUFFIXES)}")
            open_image(image_filename, self.mpp).close()
        return str(super().add_image(image_id, image_filename, image_info))

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Stores a label, unless it cannot be trained on: it is unreadable, of another size, or marks nothing.

        `location` and `size` in its info name the part of the image that it is of. The names of the classes are added.
        """
        with http_errors(label_filename):
            _check_plain("tag", label_tag)
            image, part = self.known(image_id), requested_part(label_info or {})
            Labelled(image_id, image, Path(label_filename), part, self.mpp, self.class_table).read()
        earlier = self.get_label_uri(image_id, label_tag)
        info = {**(label_info or {}), CLASSES: self.class_table.names}
        saved = super().save_label(image_id, label_filename, label_tag, info)
        if earlier and earlier != self.get_label_uri(image_id, label_tag):  # of another suffix: it would come back
            Path(earlier).unlink(missing_ok=True)
        return str(saved)

    def remove_image(self, image_id: str) -> None:
        """Removes an image and its labels."""
        self.known(image_id)
        super().remove_image(image_id)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Adds to what is noted about an image."""
        self.known(image_id)
        super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Adds to what is noted about a label."""
        if not self.get_label_uri(label_id, label_tag):
            raise not_found(f"image {label_id!r} has no label of tag {label_tag!r}")
        super().update_label_info(label_id, label_tag, info)


def _check_plain(what: str, name: str) -> None:
    if not PLAIN.fullmatch(name) or name in (".", ".."):
        raise InputError(f"{what} is {name!r}; give a plain name, without / or \\")

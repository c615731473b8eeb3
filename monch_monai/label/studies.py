"""The folder of images and labels that the server works on."""

import filecmp
import logging
import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import filelock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from monch_monai.class_table import PANNUKE, ClassTable
from monch_monai.data.images import SUFFIXES as PICTURE_SUFFIXES
from monch_monai.data.images import stem
from monch_monai.errors import InputError
from monch_monai.geometry import NETWORK_MPP
from monch_monai.label import headers
from monch_monai.label.annotations import SUFFIXES as ANNOTATION_SUFFIXES
from monch_monai.label.errors import http_errors, not_found
from monch_monai.label.labels import requested_part
from monch_monai.label.scale import IMAGE, LABEL, PATCH, REQUEST, SERVER, SLIDE, Scale, checked_mpp, scale_of, slide_of
from monch_monai.label.training_tiles import Labelled
from monch_monai.label.writes import WRITE, copy_pending, remove_others, replace_index, settle
from monch_monai.slides.image_files import SUFFIXES, open_image

FINAL = "final"
CLASSES = "classes"
"""What a label's info has the names of the classes under, in the order of the values of class maps."""
PLAIN = re.compile(r"[^/\\\0]+")
"""What an image's id or a label's tag may be, so that it stays a file's or folder's name; not `.` or `..`."""

logger = logging.getLogger(__name__)


class Studies(LocalDatastore):
    """MONAI Label's local datastore, which takes what MONCH can read and refuses the rest before it is stored.

    An image's id is its file's name without the suffix, and so are its labels', in `labels/TAG/`. `mpp` is the
    server's, of images that have none; the rest is as in `LocalDatastore`. What was accepted is stored whole
    (`writes`). One change follows the other, also where the folder's watcher or a training's process makes one.
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
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._changes = filelock.FileLock(Path(folder) / ".studies.lock")
        with self._changes:
            settle(folder)
            super().__init__(folder, extensions=patterns, auto_reload=auto_reload, read_only=read_only)

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        is_images = Path(path).resolve() == Path(self._datastore.image_path()).resolve()
        suffixes = SUFFIXES if is_images else (*PICTURE_SUFFIXES, *ANNOTATION_SUFFIXES)
        names = sorted(entry.name for entry in Path(path).iterdir())
        return {name: name for name in names if name.lower().endswith(suffixes)}

    def _to_id(self, file: str) -> tuple[str, str]:
        """Name and suffix; of `a.b.png`, `a.b` and `.png`."""
        return stem(file), file[len(stem(file)) :]

    def _reconcile_datastore(self) -> None:
        with self._changes:
            super()._reconcile_datastore()

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self._changes:
            super()._init_from_datastore_file(throw_exception)

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self._changes:
            replace_index(self._datastore_config_path, self._datastore.model_dump(exclude={"base_path"}))
            self._config_ts = Path(self._datastore_config_path).stat().st_mtime

    def known(self, image_id: str) -> Path:
        """File of an image; responds with 404 where there is none."""
        uri = self.get_image_uri(image_id)
        if not uri or not Path(uri).is_file():
            raise not_found(f"there is no image {image_id!r} in the studies folder")
        return Path(uri)

    def scale(self, image_id: str, mpp: float | None = None) -> Scale:
        """An image's scale: stated by its file, else by `mpp` of a request, else noted with the image, else that of the
        slide that it is a patch of, else the server's, else assumed.

        Raises:
            InputError: two of these but the last two disagree, or it is a slide that has none.
        """
        path, info = self.known(image_id), self.get_image_info(image_id)
        known = ((checked_mpp(mpp), REQUEST), (info.get("mpp"), IMAGE), (self._mpp_of_slide(image_id, path), SLIDE))
        return scale_of(path, *known, server=self.mpp)

    def _mpp_of_slide(self, image_id: str, file: str | Path) -> float | None:
        """µm per pixel of the slide of which `file` is a patch as large as its id states; None where it is none."""
        patch = PATCH.fullmatch(image_id)
        if patch is None or not Path(self.get_image_uri(patch["slide"])).is_file():
            return None
        with closing(open_image(file, NETWORK_MPP)) as image:  # of which its size alone is wanted
            if image.size != (int(patch["width"]), int(patch["height"])):
                return None
        try:
            scale = self.scale(patch["slide"])
        except InputError:  # the slide has none
            return None
        return None if scale.assumed else scale.mpp

    def labelled(self, image_id: str) -> Labelled:
        """An image with its final label, at the image's scale; where that is the server's or assumed, at the label's.

        Raises:
            InputError: the label is a class map that was stored with other classes.
        """
        info = self.get_label_info(image_id, FINAL)
        label, names = Path(self.get_label_uri(image_id, FINAL)), self.class_table.names
        if info.get(CLASSES, names) != names and not label.name.lower().endswith(ANNOTATION_SUFFIXES):
            found = f"the label of {image_id} is a map of {', '.join(info[CLASSES])}; the server has {', '.join(names)}"
            raise InputError(f"{found}: start it with the words of the label, or submit the label again")
        recorded = Scale(info["mpp"], info["mpp_source"]) if {"mpp", "mpp_source"} <= set(info) else None
        scale = self.scale(image_id)
        if recorded is not None and not recorded.assumed and (scale.assumed or scale.source == SERVER):
            scale = Scale(recorded.mpp, LABEL)
        if recorded is not None and recorded.mpp != scale.mpp:
            logger.warning("the label of %s was stored at %s; it is trained at %s", image_id, recorded, scale)
        part, slide = requested_part(info), slide_of(image_id, self.get_image_info(image_id))
        return Labelled(image_id, self.known(image_id), label, part, scale.mpp, self.class_table, slide, scale.assumed)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Stores an image, unless it cannot be read, its id is no plain name, or another that has labels has this id.

        `mpp` in its info is its µm per pixel, `slide` the id of the slide that it was cut from.
        """
        image_id = image_id or self._to_id(Path(image_filename).name)[0]
        suffix = self._to_id(Path(image_filename).name)[1]
        info = {**(image_info or {}), "ts": int(time.time()), "name": image_id + suffix}
        with http_errors(image_filename), self._changes:
            _check_plain("image id", image_id)
            if not image_filename.lower().endswith(SUFFIXES):
                raise InputError(f"image {image_id} is a file of unknown kind; expected one of {', '.join(SUFFIXES)}")
            known = ((info.get("mpp"), IMAGE), (self._mpp_of_slide(image_id, image_filename), SLIDE))
            scale = scale_of(image_filename, *known, server=self.mpp)
            open_image(image_filename, scale.mpp).close()
            labels = self._labels_that_stay(image_id, suffix, image_filename)
            pending = copy_pending(image_filename, self._datastore.image_path())
            record = DataModel(info={**info, WRITE: pending.name}, ext=suffix)
            self._datastore.objects[image_id] = ImageLabelModel(image=record, labels=labels)
            self._update_datastore_file()
            pending.replace(pending.with_name(image_id + suffix))
            self._state(image_id, scale)
        return image_id

    def _labels_that_stay(self, image_id: str, suffix: str, file: str) -> dict[str, DataModel]:
        """Labels of an image, where `file` is the same or it has none.

        Raises:
            InputError: the image is another one.
        """
        self._init_from_datastore_file()
        earlier = self._datastore.objects.get(image_id)
        if earlier is None:
            return {}
        path = Path(self.get_image_uri(image_id))
        same = earlier.image.ext == suffix and path.is_file() and filecmp.cmp(path, file, shallow=False)
        if not same and (earlier.labels or earlier.image.ext != suffix):
            remedy = "give it another id, or remove the earlier one (DELETE /datastore/image)"
            raise InputError(f"there is another image {image_id} already, {path.name}: {remedy}")
        return dict(earlier.labels)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Stores a label, unless it cannot be trained on: it is unreadable, of another size, or marks nothing.

        `location` and `size` in its info name the part of the image that it is of, and `mpp` the image's µm per pixel,
        which is noted with the image too. The names of the classes and the scale are added.
        """
        given, suffix = label_info or {}, self._to_id(Path(label_filename).name)[1]
        with http_errors(label_filename), self._changes:
            _check_plain("tag", label_tag)
            image, part = self.known(image_id), requested_part(given)
            scale = self.scale(image_id, given.get("mpp"))
            Labelled(image_id, image, Path(label_filename), part, scale.mpp, self.class_table).read()
            self._init_from_datastore_file()
            record = self._datastore.objects[image_id]
            if scale.source == REQUEST:
                record.image.info["mpp"] = scale.mpp
            folder = Path(self._datastore.label_path(label_tag))
            folder.mkdir(parents=True, exist_ok=True)
            pending = copy_pending(label_filename, folder)
            name = image_id + suffix
            own = {CLASSES: self.class_table.names, **scale.fields(), "ts": int(time.time()), "name": name}
            record.labels[label_tag] = DataModel(info={**given, **own, WRITE: pending.name}, ext=suffix)
            self._update_datastore_file()
            remove_others(folder, image_id, suffix)
            pending.replace(folder / name)
            self._state(image_id, scale)
        return image_id

    def _state(self, image_id: str, scale: Scale) -> None:
        headers.state(headers.RESOLUTION, str(scale))
        log = logger.warning if scale.assumed else logger.info
        log("%s: %s", image_id, scale)

    def remove_image(self, image_id: str) -> None:
        """Removes an image and its labels."""
        with self._changes:
            self.known(image_id)
            super().remove_image(image_id)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Removes a label."""
        with self._changes:
            super().remove_label(label_id, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Adds to what is noted about an image; `mpp` is its µm per pixel, and null if it is not known after all."""
        with http_errors(), self._changes:
            path = self.known(image_id)
            if info.get("mpp") is not None:
                scale_of(path, (checked_mpp(info["mpp"]), REQUEST), (self._mpp_of_slide(image_id, path), SLIDE))
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Adds to what is noted about a label."""
        with self._changes:
            if not self.get_label_uri(label_id, label_tag):
                raise not_found(f"image {label_id!r} has no label of tag {label_tag!r}")
            super().update_label_info(label_id, label_tag, info)


def _check_plain(what: str, name: str) -> None:
    if not PLAIN.fullmatch(name) or name in (".", ".."):
        raise InputError(f"{what} is {name!r}; give a plain name, without / or \\")

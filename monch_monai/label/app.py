"""MONAI Label's app: what a server started on a working copy offers, and what it refuses."""

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.sessions import Sessions

from monch_monai import __version__
from monch_monai.errors import InputError
from monch_monai.label import headers
from monch_monai.label.errors import http_errors, not_found
from monch_monai.label.infer import MonchInfer
from monch_monai.label.scale import REQUEST, Scale, checked_mpp, scale_of
from monch_monai.label.strategies import RandomChoice, Uncertainty
from monch_monai.label.studies import Studies
from monch_monai.label.train import MonchTrain
from monch_monai.label.working_copy import bundle_root
from monch_monai.networks import class_table
from monch_monai.slides.image_files import is_slide

MODEL = "monch"

logger = logging.getLogger(__name__)


class MonchApp(MONAILabelApp):
    """One model, `monch`: segments images and slides, trains on corrections, proposes what to label next.

    Args:
        app_dir: a working copy, as `write_working_copy` makes it; the server writes nowhere else but in the studies.
        studies: folder of images.
        conf: `models`, which is `monch`; `mpp`, µm per pixel of pictures and slides that have none, by default 0.25
            for pictures; `words`, a file of other words for the classes, as `--words` of inference takes it.

    Raises:
        InputError: a setting is unknown or no usable value.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        unknown = set(conf) - {"models", "mpp", "words"}
        if unknown or conf.get("models", MODEL) != MODEL:
            raise InputError(f"--conf is {conf}; expected models {MODEL} and, if wanted, mpp and words")
        try:
            self.mpp = float(conf["mpp"]) if "mpp" in conf else None
        except ValueError as error:
            raise InputError(f"--conf mpp is {conf['mpp']!r}; give µm per pixel, a number above 0") from error
        self.root = bundle_root(app_dir)
        self._words = conf.get("words")
        self.class_table = class_table(checkpoint=self.root / "models" / "model.pt", words=self._words)
        # The endpoints put uploads where `tempfile` points. In a folder of our own they differ from other files.
        self.uploads = Path(app_dir) / "uploads"
        self.uploads.mkdir(exist_ok=True)
        tempfile.tempdir = str(self.uploads)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="MONCH",
            description="Nuclei of H&E by class, from an image and words. Research only; not for diagnosis",
            version=__version__,
            labels={c.name: c.index for c in self.class_table.nuclei},
        )

    def init_datastore(self) -> Datastore:
        """The studies folder; MONAI Label's own datastores for what is not local."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        reload, read_only = settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD, settings.MONAI_LABEL_DATASTORE_READ_ONLY
        return Studies(self.studies, self.mpp, self.class_table, auto_reload=reload, read_only=read_only)

    def init_infers(self) -> dict[str, InferTask]:
        """The model."""
        return {MODEL: MonchInfer(self.root, self.class_table, self.mpp, self._words)}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Its training."""
        return {MODEL: MonchTrain(self.root)}

    def init_strategies(self) -> dict[str, Strategy]:
        """What to label next."""
        return {"uncertainty": Uncertainty(self._infers[MODEL]), "random": RandomChoice()}

    def _load_sessions(self, load: bool = False) -> Sessions | None:
        folder = settings.MONAI_LABEL_SESSION_PATH or str(Path(self.app_dir) / "sessions")
        return Sessions(folder, settings.MONAI_LABEL_SESSION_EXPIRY) if load else None

    def on_init_complete(self) -> None:
        """Removes uploads that an earlier server left, and prepares MONAI Label's server for its clients."""
        headers.install(sys.modules["monailabel.app"].app)
        shutil.rmtree(self.uploads)
        self.uploads.mkdir()
        super().on_init_complete()

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segments an image of the studies, an upload, or a part of either.

        Responds with 404 to an unknown model or image, 400 to what cannot be done.
        """
        store = datastore or self.datastore()
        path, stored = self._image(str(request.get("image")), store)
        upload = path if path.is_relative_to(self.uploads.resolve()) else None  # a session's image stays
        with http_errors(upload):
            task = self._known(request.get("model"))
            if not stored and is_slide(path):
                raise InputError("a slide cannot be uploaded to be segmented: put it into the studies folder")
            if request.get("save_label") and is_slide(path):
                request = {"output": "asap", **request}
            scale = self._scale(store, request, path, stored)
            file, response = task({**request, "image": str(path), "scale": scale})
        label = file
        tag = request.get("label_tag") or "original"
        if file and stored and request.get("save_label"):
            own = {key: response[key] for key in ("location", "size")}
            info = {"model": request["model"], "params": response, **own, "mpp": request.get("mpp")}
            label = store.save_label(request["image"], file, tag, info)
        return {"label": label, "tag": tag, "file": file, "params": response}

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Outlines of an image's nuclei; as `infer`."""
        return self.infer({**request, "output": request.get("output") or "dsa"}, datastore)

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Segments many images, one after the other; labels are saved."""
        self._known(request.get("model"))
        several = request.get("multi_gpu", True) and torch.cuda.is_available()  # else MONAI Label divides by no GPUs

        def attempt(one: dict[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return self.infer(one, store)
            except HTTPException as refusal:
                logger.warning("%s is left out: %s", one["image"], refusal.detail)
                return {"error": refusal.detail}

        return self._batch_infer({**request, "multi_gpu": several}, datastore or self.datastore(), attempt)

    def train(self, request: dict[str, Any]) -> Any:
        """Trains on all final labels."""
        self.bundle_path(request.get("model"))
        with http_errors():
            return super().train(request)

    def next_sample(self, request: dict[str, Any]) -> Any:
        """Proposes what to label next."""
        if request.get("strategy") not in (None, "", *self._strategies):
            raise not_found(f"there is no strategy {request['strategy']!r}; there are {', '.join(self._strategies)}")
        with http_errors():
            return super().next_sample(request)

    def bundle_path(self, model: str | None) -> None:
        """None: nothing of MONAI Label's own is needed to run ours.

        Asked for by the endpoints before they start work in the background, so here is the place to refuse it.
        """
        if model is not None:
            self._known(model)

    def _scale(self, store: Datastore, request: dict[str, Any], path: Path, stored: bool) -> Scale:
        """Scale of an image, that of a request's `mpp` where the file has none."""
        if stored and isinstance(store, Studies):
            return store.scale(request["image"], request.get("mpp"))
        return scale_of(path, (checked_mpp(request.get("mpp")), REQUEST), server=self.mpp)

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any] | None:
        """What the response to a stored label states beside both ids: the scale that was recorded with it."""
        store = self.datastore()
        return store.scale(image_id).fields() if isinstance(store, Studies) else None

    def _known(self, model: str | None) -> Any:
        if model not in self._infers:
            raise not_found(f"there is no model {model!r}; there is {MODEL}")
        return self._infers[model]

    def _image(self, image: str, store: Datastore) -> tuple[Path, bool]:
        """File of an image, and whether it is the studies'; else it is an upload, or a session's."""
        for folder in (self.uploads, Path(self._sessions.store_path) if self._sessions is not None else self.uploads):
            path = Path(os.path.realpath(image))
            if Path(image).is_absolute() and path.is_relative_to(folder.resolve()) and path.is_file():
                return path, False
        if isinstance(store, Studies):
            return store.known(image), True
        uri = store.get_image_uri(image)
        if not uri or not Path(uri).is_file():
            raise HTTPException(status_code=404, detail=f"image {image!r} is not on this machine")
        return Path(uri), True

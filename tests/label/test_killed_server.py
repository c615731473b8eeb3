"""A server that is killed while several clients ask: what it accepted is there when it runs again."""

import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from monch_monai.label.working_copy import write_working_copy
from tests.label.server import Server, free_port, running
from tests.label.test_annotations import asap

pytestmark = pytest.mark.label
CLIENTS, REQUESTS, KILLS = 8, 200, 2
SHARED = "shared"
"""The image that all clients label."""
SIZE = (96, 80)


def picture(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((SIZE[1], SIZE[0], 3), value, np.uint8)).save(file, "png")
    return file.getvalue()


def label(number: int) -> tuple[str, bytes, dict]:
    """Name, bytes and info of a label; its number is in its bytes, and the size of its part follows from that."""
    about = {"number": number, "location": [0, 0], "size": [40 + number % 50, 40]}
    square = [(2, 2), (12, 2), (12, 12), (2, 12 + number / 1000)]
    if number % 3 == 0:
        return "a.xml", asap(("dead", square)).encode(), about
    if number % 3 == 1:
        ring = [[*point] for point in (*square, square[0])]
        feature = {
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": "dead"}},
        }
        return "a.geojson", json.dumps([feature]).encode(), about
    classes = np.zeros((40, 40 + number % 50), np.uint8)
    classes.ravel()[: number % 40 + 1] = 1
    classes.ravel()[-(number // 40) - 1 :] = 2
    file = io.BytesIO()
    Image.fromarray(classes).save(file, "png")
    return "a.png", file.getvalue(), about


class Ward:
    """Runs a server, kills it with all its processes after some requests, and runs it again on the same folders."""

    def __init__(self, app_dir: Path, studies: Path) -> None:
        self.app_dir, self.studies, self.port = app_dir, studies, free_port()
        self.served, self.counting, self.up = 0, threading.Lock(), threading.Event()
        self.clients: list[Client] = []
        self.server: Server | None = None

    def watch(self, kills: list[int]) -> None:
        """Until all requests are done; `kills` are numbers of requests after which the server is killed."""
        for limit in [*kills, REQUESTS]:
            with running(self.app_dir, self.studies, self.port) as self.server:
                check_stored(self.studies)
                self.check_accepted()
                self.up.set()
                while self.served < limit:
                    time.sleep(0.005)
                if limit < REQUESTS:
                    self.up.clear()
                    os.killpg(self.server.process.pid, signal.SIGKILL)
                    self.server.process.wait()

    def ask(self, method: str, path: str, **arguments) -> requests.Response:
        """A response, whenever the server can give one; a request that was cut off is sent again."""
        end = time.monotonic() + 240
        while time.monotonic() < end:
            self.up.wait(240)
            try:
                response = self.server.request(method, path, **arguments)
            except requests.RequestException:
                time.sleep(0.05)
                continue
            with self.counting:
                self.served += 1
            return response
        raise AssertionError(f"no response to {method} {path}")

    def check_accepted(self) -> None:
        """Of each client, the last label that it had a response for is stored, or the one that it sent since."""
        numbers = {image: number for image, number, _, _ in stored(self.studies)}
        for client in self.clients:
            assert numbers.get(f"own_{client.number}", 0) in (client.accepted, client.sent)
            assert all((self.studies / f"{name}.png").is_file() for name in client.images)


class Client:
    """One client's share of the requests: labels of its own image and the shared one, and what goes on beside that."""

    def __init__(self, ward: Ward, number: int) -> None:
        self.ward, self.number, self.accepted, self.sent = ward, number, 0, 0
        self.images: dict[str, int] = {}

    def run(self) -> None:
        for i in range(REQUESTS // CLIENTS):
            kind = (i * 3 + self.number) % 8
            response = self.request(kind, 1 + i * CLIENTS + self.number)
            assert response.status_code == 200, (kind, response.text)

    def request(self, kind: int, number: int) -> requests.Response:
        own, ask = f"own_{self.number}", self.ward.ask
        if kind in (0, 1, 2):
            image = SHARED if kind == 2 else own
            name, content, about = label(number)
            files = {"label": (name, content)}
            self.sent = number if image == own else self.sent
            response = ask("PUT", f"/datastore/label?image={image}", files=files, data={"params": json.dumps(about)})
            self.accepted = number if image == own else self.accepted
            return response
        if kind == 3:
            name = f"new_{number}"
            response = ask(
                "PUT", f"/datastore/image?image={name}",
                files={"file": ("a.png", picture(number % 256))}, data={"params": json.dumps({"mpp": 0.5})},
            )  # fmt: skip
            self.images[name] = number % 256
            return response
        if kind == 4:
            return ask("POST", f"/infer/monch?image={own}&output=image", data={"params": "{}"})
        if kind == 5:
            return ask("POST", f"/infer/wsi/monch?image={own}&output=asap", json={"size": [0, 0]})
        if kind == 6:
            return ask("POST", "/activelearning/random", json={"image": own, "patch_size": [64, 64]})
        return ask("GET", "/datastore/?output=all")


def stored(studies: Path) -> Iterator[tuple[str, int, bytes, str]]:
    """Image, number and bytes of each label in the folder, and its file's name."""
    path = studies / "datastore_v2.json"
    index = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"objects": {}}
    for image, record in index["objects"].items():
        for tag, found in record["labels"].items():
            path = studies / "labels" / tag / (image + found["ext"])
            yield image, found["info"]["number"], path.read_bytes(), path.name


def check_stored(studies: Path) -> None:
    """Every label is one that was sent, whole, with its own info; every picture can be read."""
    assert not list(studies.rglob("*.pending"))
    for image, number, content, name in stored(studies):
        assert content == label(number)[1], (image, number)
        assert name == image + Path(label(number)[0]).suffix
    for path in studies.glob("*.png"):
        Image.open(path).load()


def test_no_label_is_lost_and_none_is_half_written(small_bundle: Path, tmp_path: Path) -> None:
    app_dir, studies = write_working_copy(tmp_path / "app", small_bundle), tmp_path / "studies"
    (studies / "labels" / "final").mkdir(parents=True)
    for name in (SHARED, *(f"own_{i}" for i in range(CLIENTS))):
        (studies / f"{name}.png").write_bytes(picture(200))
    ward = Ward(app_dir, studies)
    ward.clients = clients = [Client(ward, number) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        watch = threads.submit(ward.watch, [REQUESTS * (i + 1) // (KILLS + 1) for i in range(KILLS)])
        for work in [threads.submit(client.run) for client in clients]:
            work.result()
        watch.result()
    check_stored(studies)
    numbers = {image: number for image, number, _, _ in stored(studies)}
    assert {image: numbers[image] for image in numbers if image != SHARED} == {
        f"own_{client.number}": client.accepted for client in clients
    }
    assert SHARED in numbers
    index = json.loads((studies / "datastore_v2.json").read_text(encoding="utf-8"))["objects"]
    for name, value in {name: value for client in clients for name, value in client.images.items()}.items():
        assert index[name]["image"]["info"]["mpp"] == 0.5
        assert (np.asarray(Image.open(studies / f"{name}.png")) == value).all()
    print(f"{ward.served} requests of {CLIENTS} clients, the server killed {KILLS} times: {len(numbers)} labels stored")

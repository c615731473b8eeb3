"""A client of a running server, as small as curl."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bundle.conftest import REPOSITORY

TIMEOUT = 120


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(app_dir: Path, studies: Path, port: int) -> Iterator["Server"]:
    """A server in a group of processes of its own."""
    scripts = Path(sys.executable).parent
    command = [
        scripts / "monailabel", "start_server", "--app", app_dir, "--studies", studies,
        "--conf", "models", "monch", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),  # the small network is the tests'
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    log = app_dir / "server.txt"
    with (
        log.open("a") as out,
        subprocess.Popen(
            command, cwd=app_dir, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            yield Server(f"http://127.0.0.1:{port}", process, log).wait()
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Server:
    def __init__(self, url: str, process: subprocess.Popen, log: Path) -> None:
        self.url, self.process, self.log = url, process, log

    def wait(self) -> "Server":
        """Until it answers."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.get("/info/")
                return self
            except OSError:
                time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-4000:])

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        import requests

        return requests.request(method, self.url + path, timeout=TIMEOUT, **arguments)

    def get(self, path: str, **query: Any) -> Any:
        return self.request("GET", path, params=query)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        return self.request("POST", path, params=query, json=body)

    def qupath(self, path: str, body: Any, **headers: str) -> tuple[int, str]:
        """RequestUtils.java: JSON as Java sends it, without a Content-Type; returns status and text."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT)
        content = json.dumps(body).encode() if body is not None else b""
        connection.putrequest("POST", path, skip_accept_encoding=True)
        for name, value in {
            "User-Agent": "Java-http-client/17.0.15",
            "Content-Length": len(content),
            **headers,
        }.items():
            connection.putheader(name, value)
        connection.endheaders(content)
        with connection.getresponse() as response:
            return response.status, response.read().decode()

    def infer(self, image: str, model: str = "monch", file: Path | None = None, **params: Any) -> Any:
        """A mask; `output=image`."""
        files = {"file": (file.name, file.read_bytes())} if file else None
        query = {"image": image, "output": "image"}
        return self.request("POST", f"/infer/{model}", params=query, data={"params": json.dumps(params)}, files=files)

    def outlines(self, image: str, output: str = "asap", **body: Any) -> Any:
        """As QuPath and DSA ask."""
        return self.post("/infer/wsi/monch", {"size": [0, 0], **body}, image=image, output=output)

    def save_label(self, image: str, name: str, content: bytes, tag: str = "final", **params: Any) -> Any:
        files, data = {"label": (name, content)}, {"params": json.dumps(params)}
        return self.request("PUT", "/datastore/label", params={"image": image, "tag": tag}, files=files, data=data)

    def datastore(self) -> Any:
        return self.get("/datastore/", output="all").json()

"""A client of a running server, as small as curl."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

TIMEOUT = 120


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

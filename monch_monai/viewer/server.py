"""The viewer's server: HTTP on this machine alone, for this page alone."""

import errno
import logging
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from monch_monai.errors import InputError, one_line
from monch_monai.viewer.pages import Page, Pages

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
OPENSEADRAGONS_STYLE = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
"""The one style that OpenSeadragon 6.1.1 adds to a page."""
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {OPENSEADRAGONS_STYLE}; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content Security Policy: the browser itself refuses every request to another place."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LASTING = ("image/", "application/octet-stream")
"""Media types that a browser may keep: addresses of tiles change with the nuclei."""


class Server(ThreadingHTTPServer):
    """Serves pages on 127.0.0.1.

    A request with a `Host` of another name is refused, so that no name of another site leads here, and so is one that
    a page of another origin sends.

    Args:
        pages: what is served.
        port: to listen at; 0 takes a free one.

    Raises:
        InputError: the port is in use, or may not be used.
    """

    daemon_threads = True

    def __init__(self, pages: Pages, port: int) -> None:
        self.pages = pages
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            reason = "is busy" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror or error})"
            raise InputError(f"port {port} {reason}: give another --port, or 0 for a free one") from error

    def server_bind(self) -> None:
        """Binds the socket, without the look-up of a name that `HTTPServer` makes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Leaves browsers that closed their connection alone, and logs any other error in one line."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            logger.error("%s: %s", type(error).__name__, one_line(error))


class Handler(BaseHTTPRequestHandler):
    """Reads one request after another of a connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "monch", ""
    timeout: ClassVar[int] = 60

    def do_GET(self) -> None:
        """Sends what an address holds."""
        refused = self._refused_because()
        if refused:
            self._send(403, Page("text/plain; charset=utf-8", refused.encode()))
            return
        try:
            page = self.server.pages.get(urlsplit(self.path).path)
        except InputError as error:
            logger.warning("%s", error)
            self._send(500, Page("text/plain; charset=utf-8", one_line(error, 500).encode()))
            return
        if page is None:
            self._send(404, Page("text/plain; charset=utf-8", b"no such page"))
        else:
            self._send(200, page)

    do_HEAD = do_GET

    def _refused_because(self) -> str:
        """Why a request is refused; empty where it is not."""
        hosts = [f"{name}:{self.server.server_port}" for name in (HOST, "localhost")]
        host, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        if len(host) != 1 or host[0].lower() not in hosts:
            return f"this server is at {self.server.address} and under no other name"
        if origin is not None and origin.lower() != f"http://{host[0].lower()}":
            return "pages of other origins may not read from here"
        if (
            self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
            and urlsplit(self.path).path != "/"
        ):
            return "pages of other sites may not read from here"
        return ""

    def _send(self, status: int, page: Page) -> None:
        lasts = status == 200 and page.type.startswith(LASTING)
        self.send_response(status)
        headers = {"Content-Type": page.type, "Content-Length": str(len(page.content)), **HEADERS}
        for name, value in (headers | {"Cache-Control": "private, max-age=3600" if lasts else "no-cache"}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.content)

    def log_message(self, *words: object) -> None:
        """Logs nothing: a picture is hundreds of requests."""

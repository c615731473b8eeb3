import errno
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from monch_monai import download
from monch_monai.datasets.pannuke import download_pannuke
from monch_monai.datasets.pannuke.published import FOLDS
from monch_monai.download import TRIES, fetch
from monch_monai.errors import InputError

DATA = np.random.default_rng(0).bytes(3_000_000)
CHECKSUM = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`, and remembers the `Range` of each request.

    Attributes:
        breaks: after how many bytes the responses to come break off, in turn.
        errors: status codes of the responses to come, in turn.
        ranges: whether `Range` is honoured.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/fold_1.zip": DATA}
        self.asked, self.breaks, self.errors, self.ranges, self.length = [], [], [], True, True

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def url(self):
        return f"{self.address}/fold_1.zip"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.errors:
            self.send_error(self.server.errors.pop(0))
            return
        if self.path not in self.server.files:
            self.send_error(404)
            return
        data = self.server.files[self.path]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if self.server.length:
            self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        end = start + self.server.breaks.pop(0) if self.server.breaks else len(data)
        self.wfile.write(data[start:end])

    def log_message(self, *arguments):
        """Says nothing."""


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "source" / "fold_1.zip"


def part_of(target):
    return target.with_name(".part-fold_1.zip")


def refusal(url, target, checksum=CHECKSUM):
    with pytest.raises(InputError) as caught:
        fetch(url, target, checksum, pause=0)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def check_whole(target):
    assert target.read_bytes() == DATA
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_is_fetched_into_a_new_folder(server, target):
    fetch(server.url, target, CHECKSUM)
    check_whole(target)
    assert server.asked == [None]


def test_a_transfer_that_breaks_off_is_resumed_where_it_was(server, target):
    server.breaks = [1_000_000, 500_000]
    fetch(server.url, target, CHECKSUM, pause=0)
    check_whole(target)
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_call_resumes_what_an_earlier_one_left(server, target):
    server.breaks = [100_000] * TRIES
    message = refusal(server.url, target)
    assert message.startswith(
        f"{server.url} could not be fetched (500,000 of 3,000,000 bytes came): run again to resume"
    )
    assert not target.exists()
    assert part_of(target).read_bytes() == DATA[:500_000]
    fetch(server.url, target, CHECKSUM)
    check_whole(target)
    assert server.asked[-1] == "bytes=500000-"


def test_a_server_that_cannot_resume_sends_the_whole_file_again(server, target):
    server.ranges = False
    server.breaks = [1_000_000]
    fetch(server.url, target, CHECKSUM, pause=0)
    check_whole(target)
    assert server.asked == [None, "bytes=1000000-"]


def test_a_server_that_does_not_say_how_long_the_file_is_is_believed_by_checksum(server, target):
    server.length = False
    fetch(server.url, target, CHECKSUM)
    check_whole(target)


def test_a_transfer_that_was_whole_but_not_named_so_is_finished(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(DATA)
    fetch(server.url, target, CHECKSUM)
    check_whole(target)
    assert server.asked == ["bytes=3000000-"]


def test_a_damaged_beginning_is_found_by_checksum_and_removed(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(bytes(1000))
    assert f"{server.url} gave a file with SHA-256" in refusal(server.url, target)
    assert list(target.parent.iterdir()) == []
    fetch(server.url, target, CHECKSUM)
    check_whole(target)


def test_a_file_with_another_checksum_is_removed(server, target):
    found = hashlib.sha256(b"a page that says no").hexdigest()
    server.files["/fold_1.zip"] = b"a page that says no"
    message = refusal(server.url, target)
    assert message.startswith(f"{server.url} gave a file with SHA-256 {found}, not {CHECKSUM}: try again, or fetch")
    assert list(target.parent.iterdir()) == []


def test_a_file_that_is_there_is_not_fetched_again(server, target):
    target.parent.mkdir()
    target.write_bytes(DATA)
    fetch(server.url, target, CHECKSUM)
    assert server.asked == []
    check_whole(target)


def test_another_file_in_the_way_is_refused_and_kept(server, target):
    target.parent.mkdir()
    target.write_bytes(b"years of work")
    assert refusal(server.url, target).startswith(f"{target} has another SHA-256 than the published file: remove it")
    assert target.read_bytes() == b"years of work"
    assert server.asked == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusing_server_is_asked_once_and_named(server, target, status):
    server.errors = [status] * TRIES
    message = refusal(server.url, target)
    assert message.startswith(f"the download of {server.url} failed with {status} ")
    assert message.endswith(f"fetch {server.url} by other means and lay it in {target.parent}")
    assert server.asked == [None]


def test_a_server_in_trouble_is_asked_again(server, target):
    server.errors = [503, 500]
    fetch(server.url, target, CHECKSUM, pause=0)
    check_whole(target)
    assert server.asked == [None] * 3


def test_a_server_that_stays_in_trouble_is_given_up(server, target):
    server.errors = [503] * TRIES
    assert "could not be fetched (HTTP Error 503: Service Unavailable)" in refusal(server.url, target)
    assert len(server.asked) == TRIES


def test_nobody_at_the_address_ends_in_one_line(target):
    with Server() as closed:
        url = closed.url
    assert refusal(url, target).startswith(f"{url} could not be fetched (<urlopen error [Errno 111]")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/fold_1.zip", "fold_1.zip"])
def test_only_web_addresses_are_fetched_from(target, url):
    assert refusal(url, target) == f"{url} is no web address: give one that begins with http:// or https://"


def test_a_file_in_the_place_of_the_folder_ends_in_one_line(server, tmp_path):
    (tmp_path / "source").write_text("years of work")
    message = refusal(server.url, tmp_path / "source" / "fold_1.zip")
    assert message.startswith(f"{tmp_path / 'source'} cannot be made (")
    assert (tmp_path / "source").read_text() == "years of work"
    assert server.asked == []


@pytest.fixture
def archives(server, monkeypatch):
    server.files = {f"/fold_{number}.zip": f"fold {number}".encode() for number in FOLDS}
    for number, fold in FOLDS.items():
        checksum = hashlib.sha256(f"fold {number}".encode()).hexdigest()
        monkeypatch.setitem(FOLDS, number, fold._replace(archive_sha256=checksum))
    return server.files


def test_the_three_archives_of_pannuke_are_fetched(server, tmp_path, archives):
    download_pannuke(tmp_path / "source", server.address)
    fetched = {f"/{path.name}": path.read_bytes() for path in (tmp_path / "source").iterdir()}
    assert fetched == archives


def test_only_the_missing_archives_of_pannuke_are_fetched(server, tmp_path, archives):
    (tmp_path / "fold_2.zip").write_bytes(b"fold 2")
    download_pannuke(tmp_path, server.address)
    assert len(server.asked) == 2


def test_an_archive_of_another_fold_under_the_name_is_refused(server, tmp_path, archives):
    server.files["/fold_1.zip"] = b"fold 2"
    with pytest.raises(InputError, match=r"fold_1\.zip gave a file with SHA-256"):
        download_pannuke(tmp_path, server.address)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_download_at_once(server, tmp_path, monkeypatch):
    def full(url, part):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_go_on", full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left.*run again to resume"):
        fetch(server.url, tmp_path / "file", "0" * 64, pause=1000)

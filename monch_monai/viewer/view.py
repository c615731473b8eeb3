"""The command `view`: results in a browser, or as a page on disk."""

import logging
from pathlib import Path

from monch_monai.errors import InputError, shown
from monch_monai.settings import whole_number
from monch_monai.viewer.pages import Pages
from monch_monai.viewer.results import find_results
from monch_monai.viewer.server import Server
from monch_monai.viewer.static_page import write_static_page

logger = logging.getLogger(__name__)

PORT = 8765


def view(
    out: Path,
    port: int = PORT,
    slides: Path | None = None,
    export: Path | None = None,
    result: str | None = None,
    region: str | None = None,
) -> None:
    """Serves the results in a folder at http://127.0.0.1:PORT/ until the keyboard interrupts, or writes one as a page.

    Args:
        out: `--output_dir` of the inference.
        port: to serve at; 0 takes a free one.
        slides: folder of the slides or images where they are no longer at their old place.
        export: folder to write a page to that opens from disk.
        result: name of the result that is exported, where there are several.
        region: part that is exported, `X,Y,WIDTH,HEIGHT` in px of level 0.

    Raises:
        InputError: `out` has no results, the pictures are not at their place, the one picture is another than was
            segmented, the port is busy or no port, or the export is refused.
    """
    port = whole_number("port", port, 0, 65535)
    results = find_results(out, slides)
    if export is None and (result is not None or region is not None):
        raise InputError(f"{'result' if result is not None else 'region'} is of --export FOLDER: give that too")
    pages = Pages(results)
    if export is not None:
        chosen = [r for r in results if result in (None, r.name)]
        if len(chosen) != 1:
            names = ", ".join(r.name for r in results[:5])
            raise InputError(f"result is {shown(result)}; give --result, one of {len(results)}: {names}")
        print(write_static_page(pages, chosen[0].key, export, region))
        return
    if len(results) == 1:
        results[0].check_picture()
    for missing in (r for r in results if not r.picture.exists()):
        logger.warning("%s is missing: %s is left without a picture", missing.picture, missing.name)
    with Server(pages, port) as server:
        print(f"{len(results)} results at {server.address} (Ctrl+C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()

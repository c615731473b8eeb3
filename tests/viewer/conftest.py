import pytest

from tests.fakes.results import served, write_slide_result


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Folder of the results of two slides, and the nuclei of the first."""
    folder = tmp_path_factory.mktemp("results")
    nuclei = write_slide_result(folder)
    write_slide_result(folder, "two", 600, 30, seed=1)
    return folder, nuclei


@pytest.fixture
def server(slides):
    with served(slides[0] / "out") as server:
        yield server

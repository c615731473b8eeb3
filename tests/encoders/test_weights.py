import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor, nn

from monch_monai.encoders import ClipResNet50, ClipText, load_clip, weights
from monch_monai.errors import InputError
from monch_monai.files import sha256

REPOSITORY = Path(__file__).resolve().parents[2]
SENTENCES = ["Small round dark nuclei.", "Long thin nuclei along collagen."]


@pytest.fixture(scope="module")
def clip() -> CLIP:
    torch.manual_seed(3)
    return CLIP(**open_clip.get_model_config("RN50-quickgelu"))


@pytest.fixture(scope="module")
def published(clip: CLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the hub has it: an open_clip RN50 in half precision."""
    path = tmp_path_factory.mktemp("weights") / weights.HUB_FILES[0]
    save_file({name: value.half().contiguous() for name, value in clip.state_dict().items()}, path)
    return path


def first_weight(clip: CLIP) -> Tensor:
    return clip.visual.conv1.weight.detach()


def test_a_safetensors_file_gives_both_towers(published: Path, clip: CLIP) -> None:
    loaded, origin = load_clip(published)
    assert origin.pretrained
    assert origin.text.startswith(f"file {published.name}, SHA-256 ")
    torch.testing.assert_close(first_weight(loaded), first_weight(clip), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ClipText(loaded).encode(SENTENCES), ClipText(clip).encode(SENTENCES), atol=2e-3, rtol=0)
    encoder = ClipResNet50()
    encoder.load_clip(loaded)
    assert torch.equal(encoder.trunk.layer3[5].conv3.weight, loaded.visual.layer3[5].conv3.weight)


def test_a_state_dict_of_open_clip_loads(clip: CLIP, tmp_path: Path) -> None:
    torch.save({name: value.half() for name, value in clip.state_dict().items()}, tmp_path / "rn50.pt")
    loaded, _ = load_clip(tmp_path / "rn50.pt")
    torch.testing.assert_close(first_weight(loaded), first_weight(clip), atol=1e-3, rtol=1e-3)


def test_a_renamed_tensor_is_refused_by_name(clip: CLIP, tmp_path: Path) -> None:
    state = {name: value.half() for name, value in clip.state_dict().items()}
    state["visual.conv9.weight"] = state.pop("visual.conv1.weight")
    torch.save(state, tmp_path / "renamed.pt")
    with pytest.raises(InputError, match=r"visual\.conv1\.weight"):
        load_clip(tmp_path / "renamed.pt")


class Archive(nn.Module):
    """Parameters under the dotted names of a state dict, as OpenAI's TorchScript archive holds them."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in state.items():
            *path, last = name.split(".")
            module: nn.Module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_buffer(last, value)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_only_openais_own_archive_is_opened(clip: CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {name: value.half() if value.is_floating_point() else value for name, value in clip.state_dict().items()}
    extra = {name: torch.tensor(0) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.jit.script(Archive({**state, **extra})).save(str(tmp_path / "RN50.pt"))
    with pytest.raises(InputError, match="published SHA-256"):
        load_clip(tmp_path / "RN50.pt")
    monkeypatch.setattr(weights, "OPENAI_ARCHIVE_SHA256", sha256(tmp_path / "RN50.pt"))
    loaded, _ = load_clip(tmp_path / "RN50.pt")
    torch.testing.assert_close(first_weight(loaded), first_weight(clip), atol=1e-3, rtol=1e-3)


def test_a_pickled_object_is_refused(tmp_path: Path) -> None:
    torch.save({"visual.conv1.weight": Path("x")}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="is not an open_clip RN50 state dict"):
        load_clip(tmp_path / "evil.pt")


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(InputError, match="'opneai' is neither openai, none nor auto, nor a file"):
        load_clip("opneai")


def test_sentences_give_unit_features_that_differ(clip: CLIP) -> None:
    features = ClipText(clip).encode(SENTENCES)
    assert features.shape == (2, 1024)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    assert float(features[0] @ features[1]) < 0.99


def test_a_sentence_too_long_for_clip_is_refused(clip: CLIP) -> None:
    with pytest.raises(ValueError, match="a prompt has 202 tokens; CLIP reads 77"):
        ClipText(clip).encode(["nucleus " * 100])


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers for one file as the hub does."""

    file: Path

    def do_HEAD(self) -> None:
        if not self.path.endswith(self.file.name):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.file.stat().st_size))
        self.send_header("ETag", '"0123456789abcdef"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.endswith(self.file.name):
            self.wfile.write(self.file.read_bytes())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(published: Path) -> Iterator[str]:
    handler = type("OneFileHub", (Hub,), {"file": published})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def load_in_a_process(choice: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Loads weights with the hub at `endpoint`, which the hub client takes from the environment when imported."""
    program = f"""
import logging, sys
logging.basicConfig(level=logging.WARNING)
from monch_monai.encoders import load_clip
from monch_monai.errors import show_input_errors_in_one_line
show_input_errors_in_one_line()
clip, origin = load_clip({choice!r})
print(origin.text, float(clip.visual.conv1.weight.double().sum()))
"""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_weights_come_from_the_hub_once_and_then_from_its_cache(hub: str, published: Path, tmp_path: Path) -> None:
    expected = float(first_weight(load_clip(published)[0]).double().sum())
    for choice, endpoint in (("auto", hub), ("openai", "http://127.0.0.1:9")):
        done = load_in_a_process(choice, endpoint, tmp_path)
        assert done.returncode == 0, done.stderr
        *origin, total = done.stdout.split()
        assert " ".join(origin) == f"openai RN50 from hub {weights.HUB}"
        assert float(total) == pytest.approx(expected, rel=1e-6)
        assert "RANDOM" not in done.stderr


@pytest.mark.slow
def test_without_a_hub_auto_warns_once_and_openai_says_what_to_do(tmp_path: Path) -> None:
    auto = load_in_a_process("auto", "http://127.0.0.1:9", tmp_path)
    assert auto.returncode == 0, auto.stderr
    assert auto.stdout.startswith("random ")
    assert auto.stderr.count("training from RANDOM weights") == 1
    openai = load_in_a_process("openai", "http://127.0.0.1:9", tmp_path)
    assert openai.returncode == 1
    (line,) = openai.stderr.strip().splitlines()
    assert line.startswith("ERROR: CLIP's weights are not cached and the hub http://127.0.0.1:9 does not answer")
    assert "--encoder_weights PATH" in line


@pytest.mark.slow
def test_a_hub_that_accepts_and_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            threading.Event().wait(60)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = load_in_a_process("auto", f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
        server.shutdown()
    assert done.stdout.startswith("random ")

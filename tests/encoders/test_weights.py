import http.server
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from monch_monai.encoders import RANDOM, ClipResNet50, ClipText, ConchText, Origin, load_published
from monch_monai.encoders.weights import wanted_by
from monch_monai.errors import InputError
from monch_monai.files import sha256
from tests.fakes.encoders import SMALL, TOWER
from tests.fakes.network import noise

REPOSITORY = Path(__file__).resolve().parents[2]
SENTENCES = ["Small round dark nuclei.", "Long thin nuclei along collagen."]
pytestmark = pytest.mark.usefixtures("small_words")
TWO_TOWERS = ["clip_resnet", "clip_vit", "plip", "conch"]


def published(family: str, seed: int = 3, format: int = 0) -> dict[str, Tensor]:
    """Tensors of a small member under their published names, of half precision as most of the files are."""
    torch.manual_seed(seed)
    encoder = SMALL[family]()
    text = encoder.publication.text
    towers = {"image": encoder, **({"text": text().tower} if text is not None else {})}
    kind, file = encoder.publication.formats[format], {}
    for ours, value in wanted_by(towers).items():
        value = value.T if ours in kind.transposed else value
        sources = kind.sources(ours)
        parts = value.chunk(len(sources)) if len(sources) > 1 else [value]
        for source, part in zip(sources, parts, strict=True):
            file[source] = part.half().contiguous() if part.is_floating_point() else part
    return file


def load(family: str, path: Path, text_weights: str | None = "none"):
    torch.manual_seed(5)
    encoder = SMALL[family]().eval()
    text, origin = load_published(encoder, path, None if family in TWO_TOWERS else text_weights)
    return encoder, text, origin


def write_vocabulary(folder: Path) -> None:
    """A vocabulary in the format of CONCH's: bytes, and words for start and end that the file itself adds."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: i for i, word in enumerate(["<pad>", "<start_of_text>", "<end_of_text>", *letters])}
    made = Tokenizer(models.BPE(vocab=words, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ends = [(word, words[word]) for word in ("<start_of_text>", "<end_of_text>")]
    made.post_processor = processors.TemplateProcessing(single="<start_of_text> $A <end_of_text>", special_tokens=ends)
    made.save(str(folder / ConchText.vocabulary))


@pytest.mark.parametrize("family", SMALL)
def test_a_file_in_the_published_format_changes_the_maps(
    family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(published(family), tmp_path / "published.bin")
    write_vocabulary(tmp_path)
    with caplog.at_level(logging.INFO):
        encoder, text, origin = load(family, tmp_path / "published.bin")
    assert "none missing, none unexpected" in caplog.text
    assert origin.pretrained
    assert origin == Origin("file", "published.bin", sha256=sha256(tmp_path / "published.bin"))
    assert text.origin == (origin if family in TWO_TOWERS else RANDOM)
    torch.manual_seed(3)
    of_file, image = SMALL[family]().eval(), noise(1, 3, 96, 64)
    torch.manual_seed(5)
    untouched = SMALL[family]().eval()
    with torch.no_grad():
        loaded, expected, before = (e(image)[-1] for e in (encoder, of_file, untouched))
    assert (loaded - expected).abs().max() < 0.02 * expected.abs().max()  # but for half precision
    assert (loaded - before).abs().max() > 0.2 * expected.abs().max()
    features = text.encode(SENTENCES)
    assert features.shape == (2, text.dim)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    assert float(features[0] @ features[1]) < 0.9999


@pytest.mark.parametrize("family", TWO_TOWERS)
def test_the_words_come_from_the_file_too(family: str, tmp_path: Path) -> None:
    write_vocabulary(tmp_path)
    answers = []
    for seed in (3, 4):
        torch.save(published(family, seed), tmp_path / "published.bin")
        answers += [load(family, tmp_path / "published.bin")[1].encode(SENTENCES) for _ in range(2)]
    assert torch.equal(answers[0], answers[1])
    assert (answers[0] - answers[2]).abs().max() > 1e-2


@pytest.mark.parametrize("family", SMALL)
def test_a_renamed_tensor_is_refused_by_both_its_names(family: str, tmp_path: Path) -> None:
    file = published(family)
    name = next(n for n in reversed(file) if n.endswith("weight"))
    file[f"{name}_"] = file.pop(name)
    torch.save(file, tmp_path / "renamed.bin")
    write_vocabulary(tmp_path)
    with pytest.raises(InputError) as caught:
        load(family, tmp_path / "renamed.bin")
    assert f"1 missing: {name}; 1 unexpected: {name}_" in str(caught.value)
    assert str(tmp_path / "renamed.bin") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("family", "format"), [("clip_vit", 1), ("plip", 1), ("sam", 1), ("sam", 2)])
def test_the_other_formats_of_a_family_give_the_same_weights(family: str, format: int, tmp_path: Path) -> None:
    encoders = []
    for number in (0, format):
        torch.save(published(family, format=number), tmp_path / "published.bin")
        encoder, text, _ = load(family, tmp_path / "published.bin")
        encoders.append((encoder, text.encode(SENTENCES)))
    assert all(torch.equal(a, b) for a, b in zip(*(e.state_dict().values() for e, _ in encoders), strict=True))
    if family in TWO_TOWERS:
        assert torch.equal(encoders[0][1], encoders[1][1])


def test_weights_lie_in_wrappers_too(tmp_path: Path) -> None:
    plain = load("sam2", saved(tmp_path / "a.pt", published("sam2")))[0]
    for content in ({"model": published("sam2")}, {f"module.{n}": v for n, v in published("sam2").items()}):
        wrapped = load("sam2", saved(tmp_path / "b.pt", content))[0]
        assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), wrapped.parameters(), strict=True))


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_a_safetensors_file_loads(tmp_path: Path) -> None:
    save_file(published("plip"), tmp_path / "model.safetensors")
    assert load("plip", tmp_path / "model.safetensors")[2].source == "model.safetensors"


def test_a_snapshot_folder_is_searched_for_the_published_names(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--MahmoodLab--UNI" / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds no pytorch_model\.bin, as MahmoodLab/UNI does"):
        load("uni", snapshot)
    torch.save(published("uni"), snapshot / "pytorch_model.bin")
    assert load("uni", snapshot)[2].source == "pytorch_model.bin"


def test_an_encoder_of_images_alone_goes_with_the_words_that_are_given(tmp_path: Path) -> None:
    torch.save(published("uni"), tmp_path / "uni.bin")
    text = load("uni", tmp_path / "uni.bin")[1]
    assert (text.name, text.dim, text.context_length) == ("clip_rn50", 1024, 77)
    clip = {**{n: v.half() for n, v in text.tower.state_dict().items()}, "visual.conv1.weight": torch.zeros(1)}
    torch.save({**clip, "logit_scale": torch.zeros(())}, tmp_path / "clip.pt")
    words = [load("uni", tmp_path / "uni.bin", str(tmp_path / "clip.pt")) for _ in range(2)]
    assert words[0][1].origin == Origin("file", "clip.pt", sha256=sha256(tmp_path / "clip.pt"))
    assert words[0][2].source == "uni.bin"
    torch.testing.assert_close(words[0][1].encode(SENTENCES), text.encode(SENTENCES), atol=2e-3, rtol=0)


def test_an_encoder_with_words_of_its_own_takes_no_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="plip brings a text encoder of its own: leave text_weights out"):
        load_published(SMALL["plip"](), "none", "none")


def test_conch_without_its_vocabulary_says_where_it_is(tmp_path: Path) -> None:
    torch.save(published("conch"), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=rf"copy {ConchText.vocabulary} of .*github\.com/mahmoodlab/CONCH to"):
        load("conch", tmp_path)


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


def test_only_openais_own_archive_is_opened(tmp_path: Path) -> None:
    extra = {name: torch.tensor(0) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.jit.script(Archive({**published("clip_resnet"), **extra})).save(str(tmp_path / "RN50.pt"))
    with pytest.raises(InputError, match="nor the publisher's archive with its published SHA-256"):
        load("clip_resnet", tmp_path / "RN50.pt")
    encoder = SMALL["clip_resnet"]()
    encoder.publication = replace(encoder.publication, archive_sha256=sha256(tmp_path / "RN50.pt"))
    load_published(encoder, tmp_path / "RN50.pt")
    expected = published("clip_resnet")["visual.conv1.weight"].float()
    assert torch.equal(encoder.trunk.conv1.weight, expected)


def test_the_archive_is_known_by_openais_published_address() -> None:
    known = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
    assert ClipResNet50().publication.archive_sha256 == known


def test_a_pickled_object_is_refused(tmp_path: Path) -> None:
    for content in ({"visual.conv1.weight": Path("x")}, [torch.zeros(1)]):
        with pytest.raises(InputError, match=r"evil\.pt does not fit: it is no"):
            load("sam", saved(tmp_path / "evil.pt", content))


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(InputError, match="'opneai' is neither auto, published, openai, none nor a file or folder"):
        load_published(SMALL["clip_vit"](), "opneai")
    with pytest.raises(InputError, match="openai, but uni is not OpenAI's"):
        load_published(SMALL["uni"](), "openai")


def test_a_sentence_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="a prompt has 202 tokens; clip_rn50 reads 77"):
        ClipText(**TOWER).encode(["nucleus " * 100])


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers for one file as the hub does; without a token that is accepted, as for a gated repository."""

    file: Path
    token: str | None = None

    def do_HEAD(self) -> None:
        if self.token is not None and self.headers.get("Authorization") != f"Bearer {self.token}":
            self.send_response(401)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not self.path.endswith(self.file.name):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
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


@contextmanager
def hub(**attributes: object) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("OneFileHub", (Hub,), attributes)) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def load_in_a_process(
    family: str, choices: list[str], endpoint: str, home: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Loads weights with the hub at `endpoint`, which the hub client takes from the environment when imported.

    Prints the origin of each choice, and the seconds it took.
    """
    program = f"""
import logging, time
logging.basicConfig(level=logging.WARNING)
from monch_monai.encoders import load_published
from monch_monai.errors import InputError
from tests.fakes.encoders import SMALL
for choice in {choices!r}:
    encoder, start = SMALL[{family!r}](), time.monotonic()
    try:
        print(load_published(encoder, choice)[1])
    except InputError as error:
        print("ERROR:", error)
    print(time.monotonic() - start)
"""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **variables}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)


@pytest.mark.slow
def test_weights_come_from_the_hub_once_and_then_from_its_cache(tmp_path: Path) -> None:
    file = saved(tmp_path / "pytorch_model.bin", published("plip"))
    with hub(file=file) as endpoint:
        first = load_in_a_process("plip", ["auto"], endpoint, tmp_path)
    second = load_in_a_process("plip", ["published"], "http://127.0.0.1:9", tmp_path)
    for done in (first, second):
        assert done.stdout.splitlines()[0] == "hub vinid/plip, revision 000000000000"
        assert "RANDOM" not in done.stderr


@pytest.mark.slow
def test_a_gated_hub_says_what_to_accept_and_takes_a_token_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    file = saved(tmp_path / "files" / "pytorch_model.bin", published("conch"))
    with hub(file=file, token="secret") as endpoint:
        without = load_in_a_process("conch", ["published"], endpoint, tmp_path)
        given = load_in_a_process("conch", ["published"], endpoint, tmp_path, HF_TOKEN="secret")
    said = without.stdout.splitlines()[0]
    assert f"sign in at {endpoint}/MahmoodLab/CONCH, accept its terms (CC BY-NC-ND 4.0), and set HF_TOKEN" in said
    # With the token the file came; what is still missing is the vocabulary, to be laid beside it.
    assert f"copy {ConchText.vocabulary}" in given.stdout
    assert list(tmp_path.glob("hub/models--MahmoodLab--CONCH/snapshots/*/pytorch_model.bin"))


@pytest.mark.slow
def test_without_a_hub_auto_warns_and_published_says_what_to_do(tmp_path: Path) -> None:
    done = load_in_a_process("clip_resnet", ["auto", "openai"], "http://127.0.0.1:9", tmp_path)
    assert done.stdout.startswith("random\n")
    assert done.stderr.count("training from RANDOM weights") == 1
    line = done.stdout.splitlines()[2]
    assert line.startswith(
        "ERROR: encoder_weights: timm/resnet50_clip.openai is not cached and the hub http://127.0.0.1:9"
    )
    assert "`hf download timm/resnet50_clip.openai open_clip_model.safetensors --local-dir FOLDER`" in line


@pytest.mark.slow
def test_a_hub_that_accepts_and_never_answers_is_given_up_within_ten_seconds(tmp_path: Path) -> None:
    class Silent(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            threading.Event().wait(60)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = load_in_a_process("sam", ["published"], f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
        server.shutdown()
    said, seconds = done.stdout.splitlines()
    assert "hf download facebook/sam-vit-base model.safetensors --local-dir FOLDER" in said
    assert float(seconds) < 11


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
            "the certificate of the hub .* SSL_CERT_FILE",
        ),
        (
            OSError("[Errno -2] Name or service not known"),
            r"does not respond \(\[Errno -2\] Name or service not known\)",
        ),
        (OSError("ProxyError: 407"), r"the proxy to the hub .* does not connect"),
        (None, "HF_HUB_OFFLINE is set, so that the hub .* is not asked"),
    ],
)
@pytest.mark.parametrize("choice", ["auto", "published"])
def test_on_real_data_auto_stops_and_states_what_kept_the_weights_away(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, why: str, choice: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"{error}" if "Name" in str(error) else "in the client's own words") from error

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fail)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", error is None)
    with pytest.raises(
        InputError, match=r"^encoder_weights: .* is not cached and .*or --encoder_weights none$"
    ) as caught:
        load_published(SMALL["plip"](), choice, may_be_random=False)
    assert re.search(why, str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_file_of_the_image_encoder_does_not_make_the_text_encoder_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the words are another encoder's, they too are asked for."""
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    path = saved(tmp_path / "sam2.pt", published("sam2"))
    with pytest.raises(InputError, match=r"^text_weights: .*HF_HUB_OFFLINE is set.*or --text_weights none$"):
        load_published(SMALL["sam2"](), path, may_be_random=False)
    assert not load_published(SMALL["sam2"](), path)[0].origin.pretrained

"""The network as files that run without this package: TorchScript, `torch.export`, ONNX."""

import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram

import monch_monai
from monch_monai.errors import InputError
from monch_monai.files import write_atomically
from monch_monai.geometry import TILE_SIZE
from monch_monai.networks.monch import Monch

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

logger = logging.getLogger(__name__)

ABOUT = "about.json"
"""Name of the description inside TorchScript and `torch.export` files; ONNX has metadata of its own."""
INPUT, OUTPUT = "image", "logits"
TOLERANCE = 1e-3
"""Largest difference of a logit between an exported form and the network."""


def export_network(
    network: Monch,
    output_dir: str | Path,
    formats: Sequence[str] | str = ("torchscript", "program", "onnx"),
    properties: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes the network, in eval mode and folded to its prompts, once a format; returns the files.

    `model.ts` (TorchScript), `model.pt2` (`torch.export`) and `model.onnx` take normalised images `[B, 3, H, W]` of any
    batch and size, which is tested here. They return the network's logits `[B, T, H, W]`, float32. Each file stores the
    version, the classes, the provenance, the density of the tissue trained on, mean and standard deviation of images,
    and `properties`.

    Args:
        network: with its trained weights.
        output_dir: folder for the files; made where it does not exist.
        formats: names in `FORMATS`.
        properties: more of the kind.

    Raises:
        InputError: a format is unknown or its packages are not installed, the encoder would bind a format to one image
            size, or `output_dir` cannot be written.
    """
    wanted = [formats] if isinstance(formats, str) else list(formats)
    if unknown := [name for name in wanted if name not in FORMATS]:
        raise InputError(f"formats has {unknown[0]!r}; give some of {', '.join(FORMATS)}")
    about = {
        "name": "monch",
        "version": monch_monai.__version__,
        "classes": network.class_table.names,
        "provenance": network.provenance.to_dict(),
        "reference_density": network.reference_density.tolist(),
        "mean": list(network.mean),
        "std": list(network.std),
        **(properties or {}),
    }
    forms, paths = Forms(network), []
    try:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        for name in wanted:
            ending, write = FORMATS[name]
            path = Path(output_dir) / f"model.{ending}"
            write_atomically(path, partial(write, forms, about))
            logger.info("%-12s %s", name, path)
            paths.append(path)
    except OSError as error:
        raise InputError(f"output_dir {output_dir} cannot be written ({error}): give another") from error
    return paths


class Forms:
    """A trained network in eval mode and folded to its prompts, in the forms that run without this package.

    Each takes images `[B, 3, H, W]` of any batch and size. A form is made once, at its first use.

    Args:
        network: copied, and not changed.
    """

    def __init__(self, network: Monch) -> None:
        self.network = network.folded().cpu().to(memory_format=torch.contiguous_format)
        self.example = torch.zeros(2, 3, TILE_SIZE, TILE_SIZE)

    @cached_property
    def program(self) -> ExportedProgram:
        """The graph of plain operators that `torch.export` makes.

        Raises:
            InputError: the encoder would bind the graph to one image size.
        """
        sizes = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
        try:
            with torch.no_grad():
                program = torch.export.export(self.network, (self.example,), dynamic_shapes=(sizes,))
        except UserError as error:  # some part depends on the size
            raise self._fixed("torch.export and ONNX") from error
        self._check(program.module(), "torch.export and ONNX")
        return program

    @cached_property
    def traced(self) -> torch.jit.ScriptModule:
        """TorchScript, by tracing: sizes are traced too.

        Raises:
            InputError: the encoder would bind the trace to one image size.
        """
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # of a successor, of checks not traced
            traced: torch.jit.ScriptModule = torch.jit.trace(self.network, (self.example,), check_trace=False)
        self._check(traced, "TorchScript")
        return traced

    @cached_property
    def onnx(self) -> "ONNXProgram":
        """ONNX, made from `program`.

        Raises:
            InputError: the packages of PyTorch's exporter are not installed.
        """
        try:
            import onnx_ir
            import onnxscript  # noqa: F401 (torch.onnx needs it, and its own message is less plain)
        except ImportError as error:
            missing = f"ONNX needs packages that are not installed ({error})"
            raise InputError(f"{missing}: pip install onnx onnxscript") from error
        with warnings.catch_warnings(action="ignore"):
            exported = torch.onnx.export(
                self.program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
            )
        if exported is None:
            raise RuntimeError("torch.onnx returned no program")
        graph = exported.model.graph
        for value, channels in ((graph.inputs[0], 3), (graph.outputs[0], len(self.network.class_table))):
            value.shape = onnx_ir.Shape(["batch", channels, "height", "width"])
        return exported

    def _check(self, form: Callable[[Tensor], Tensor], name: str) -> None:
        """Compares a form with the network on images of another batch and size than it was made with."""
        images = torch.randn(1, 3, 320, 200, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = self.network(images)
            try:
                logits = form(images)
            except RuntimeError as error:
                raise self._fixed(name) from error
        # Near-ties of the graph may resolve differently in a few places.
        if logits.shape != expected.shape or ((logits - expected).abs() > TOLERANCE).float().mean() > 1e-3:
            raise self._fixed(name)

    def _fixed(self, name: str) -> InputError:
        would = f"with the encoder {self.network.image_encoder.name}, {name} would run for"
        return InputError(f"{would} one size of image only: leave it out of formats")


def _write_torchscript(forms: Forms, about: dict[str, Any], path: str) -> None:
    with warnings.catch_warnings(action="ignore"):  # that TorchScript has a successor
        torch.jit.save(forms.traced, path, _extra_files={ABOUT: json.dumps(about)})


def _write_program(forms: Forms, about: dict[str, Any], path: str) -> None:
    torch.export.save(forms.program, path, extra_files={ABOUT: json.dumps(about)})


def _write_onnx(forms: Forms, about: dict[str, Any], path: str) -> None:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    forms.onnx.model.metadata_props.update(texts)
    forms.onnx.save(path)


FORMATS: dict[str, tuple[str, Callable[[Forms, dict[str, Any], str], None]]] = {
    "torchscript": ("ts", _write_torchscript),
    "program": ("pt2", _write_program),
    "onnx": ("onnx", _write_onnx),
}
"""Name to the file's ending and the function that writes the file."""

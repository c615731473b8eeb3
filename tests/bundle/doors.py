"""Calls what `monai.bundle` offers from Python: `python -c "$(cat doors.py)" ROOT DATASET IMAGE OUT [exports]`.

For `test_download.py`, in a process that finds the package as a user's would. Prints what came of it as JSON.
"""

import json
import sys
from pathlib import Path

import monai.bundle
import torch

root, dataset, image, out = map(Path, sys.argv[1:5])
configs = root / "configs"
found: dict[str, object] = {}

settings = {"bundle_dir": str(root.parent), "source": "github", "device": "cpu"}
network = monai.bundle.load("monch", **settings)
state = torch.load(root / "models" / "model.pt", weights_only=True)
found["loaded"] = all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
changed = monai.bundle.load("monch", workflow_type="inference", net_override={"dilation": 1}, **settings)
found["overridden"] = (network.features.topo.dilation, changed.features.topo.dilation)

for kind, data, overrides in (
    ("train", dataset, {"encoder_weights": "none"}),
    ("inference", image, {"checkpoint": str(root / "models" / "model.pt")}),
):
    workflow = monai.bundle.create_workflow(
        config_file=str(configs / f"{kind}.json"), workflow_type=kind, logging_file=False, bundle_root=str(root),
        dataset_dir=str(data), output_dir=str(out / kind), device="cpu", **overrides,
    )  # fmt: skip
    found[kind] = {"version": workflow.version, "lacks": workflow.check_properties()}

inference, metadata = str(configs / "inference.json"), str(configs / "metadata.json")
monai.bundle.verify_net_in_out("network_def", metadata, inference, device="cpu")
if "exports" in sys.argv:
    checkpoint = str(root / "models" / "model.pt")
    files = {"ckpt_file": checkpoint, "meta_file": metadata, "config_file": inference}
    monai.bundle.ckpt_export("network_def", str(out / "monai.ts"), use_trace=True, **files)
    axes = {"image": {0: "batch", 2: "height", 3: "width"}}
    names = {"input_names": ["image"], "output_names": ["logits"], "dynamic_axes": axes}
    shape = [2, 3, 256, 256]  # of an example of one image PyTorch would keep the one
    monai.bundle.onnx_export("network_def", str(out / "monai.onnx"), converter_kwargs=names, input_shape=shape, **files)

found["package"] = sys.modules["monch_monai"].__file__  # as the doors found it
print(json.dumps(found))

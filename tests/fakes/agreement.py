"""How far a network's answers by two choices of ops lie apart."""

import copy
import os
from unittest.mock import patch

import torch
from torch import Tensor, nn

LOGITS = 1e-4
"""Tolerance of logits in float32."""
GRADIENTS = 5e-3
"""Tolerance of gradients in float32, as a share of their length. Mostly they agree to 1e-6; but where a ReLU is at zero
but for rounding, it lets a gradient through or not, as it does when the images change by one part in 10^7."""


def disagreement(network: nn.Module, images: Tensor, choice: str) -> tuple[float, float]:
    """Between `MONCH_OPS=choice` and `reference`: the largest difference of two logits in eval; and the largest of two
    parameters' gradients in one training step, as a share of the gradients' length over all parameters.
    """
    logits, gradients = zip(*(_answers(network, images, ops) for ops in (choice, "reference")), strict=True)
    length = torch.cat([g.flatten() for g in gradients[1]]).norm()
    worst = max(float((a - b).norm()) for a, b in zip(*gradients, strict=True))
    return float((logits[0] - logits[1]).abs().max()), worst / float(length)


def _answers(network: nn.Module, images: Tensor, ops: str) -> tuple[Tensor, list[Tensor]]:
    network = copy.deepcopy(network)
    with patch.dict(os.environ, MONCH_OPS=ops):
        with torch.no_grad():
            logits = network.eval()(images)
        network.train()(images).square().mean().backward()
    return logits, [p.grad for p in network.parameters() if p.grad is not None]

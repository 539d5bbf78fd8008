"""The weights of a finished training as a file of safetensors, which holds no code."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from seqconv.files import write_atomically

WEIGHTS_FILE = "model.safetensors"


def save_weights(folder: Path, model: nn.Module) -> None:
    """Replace the weights in `folder` by those of the model: its state_dict, in torch's default memory layout."""
    tensors = {
        # Copies, because the format refuses tensors that share memory, as tied weights do.
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    write_atomically(folder / WEIGHTS_FILE, safetensors.torch.save(tensors, metadata={"format": "pt"}))

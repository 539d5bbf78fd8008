"""How far back trained proxies really read, against untrained ones and equal weights: what `heat_map` goes by.

    python benchmarks/reach.py --root FOLDER [--images 2500] [--epochs 5]

FOLDER holds CIFAR-10; images are halved to 16x16. Prints a line for each of six networks with windows of 2G.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from seqconv import Architecture, Stage, build
from seqconv.reach import stage_reach
from seqconv.utilisation import utilisations
from training.data import split
from training.datasets import Cifar10
from training.device import derive, seeded
from training.loop import train
from training.trial import TrialConfig

WIDTHS = (16, 32, 64)
CASES = ((8, "plain", 1, 0), (8, "plain", 1, 1), (8, "plain", 2, 0), (8, "bottleneck", 1, 0),
         (4, "plain", 1, 0), (4, "bottleneck", 1, 0))  # fmt: skip
"""Groups, form, blocks of a stage, seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="folder of CIFAR-10")
    parser.add_argument("--images", type=int, default=2500, help="to train on")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    data = Cifar10(root=given.root, verify=False).load()
    config = TrialConfig(epochs=given.epochs, resolution=16, augment="crop_flip")
    share = given.images / (0.9 * len(data.train_labels))
    parts = split(data, validation=0.1, share=share, validation_limit=1000)
    for groups, form, blocks, seed in CASES:
        stages = tuple(Stage(blocks=blocks, group_width=width // groups, window="2G", form=form) for width in WIDTHS)
        architecture = Architecture(widening=1, stages=stages)
        with seeded(derive(seed, 0), torch.device("cpu")):
            untrained = utilisations(build(architecture, classes=10))
        with tempfile.TemporaryDirectory() as folder:
            *_, last = train(architecture, parts, config, classes=10, folder=Path(folder), seed=seed)
            weights = torch.load(Path(folder) / "model.pt", weights_only=True)
        model = build(architecture, classes=10)
        model.load_state_dict(weights)
        found = {"trained": utilisations(model), "untrained": untrained, "equal weights": equal(untrained)}
        reaches = ", ".join(f"{name} {stage_reach(architecture, layers)}" for name, layers in found.items())
        print(f"G={groups} {form} blocks={blocks} seed={seed}: error {last.validation_error:.3f}, reach {reaches}")


def equal(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same layers, had all reads the same weight."""
    return {name: torch.where(layer.isnan(), layer, torch.ones_like(layer)) for name, layer in layers.items()}


if __name__ == "__main__":
    main()

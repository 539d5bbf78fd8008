"""ImageNet in class folders.

Russakovsky et al., 2014, "ImageNet Large Scale Visual Recognition Challenge" (arXiv 1409.0575).
"""

from __future__ import annotations

from training.data import Proxy
from training.datasets.folder import Folder


class ImageNet(Folder):
    """ImageNet, or a part of its classes: root/train/<class>/* and root/val/<class>/*; both must be there."""

    name = "imagenet"
    proxy = Proxy(epochs=4, share=0.1, validation_limit=10_000)
    held_out = False

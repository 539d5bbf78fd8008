"""The kinds of data, one a file: a frozen config whose `load` gives `training.data.ImageData`.

`Folder` and `ImageNet` also give their files to full training, at full size.
"""

from training.datasets.auto import Auto
from training.datasets.cifar import Cifar10, Cifar100
from training.datasets.digits import Digits
from training.datasets.folder import Folder
from training.datasets.imagenet import ImageNet

__all__ = ["Auto", "Cifar10", "Cifar100", "Digits", "Folder", "ImageNet"]

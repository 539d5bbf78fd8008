"""Peak memory of training steps of the CIFAR B net in this process, in bytes: what network_cases.py starts.

python benchmarks/training_memory.py twin|reference|blocked|auto contiguous|channels_last float32|bfloat16 [--quick]
"""

from __future__ import annotations

import argparse

import torch
from comparison import DTYPES, FORMATS, Options, Setting
from network_cases import VARIANTS, peak_bytes


def main() -> None:
    variants = {variant.name: variant for variant in VARIANTS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", choices=variants)
    parser.add_argument("memory_format", choices=FORMATS)
    parser.add_argument("dtype", choices=DTYPES)
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = Options(dtype=given.dtype, quick=given.quick)
    print(peak_bytes(variants[given.variant], Setting(given.memory_format), options))


if __name__ == "__main__":
    main()

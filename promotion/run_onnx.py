"""Runs an ONNX model where this project and torch cannot be imported: python -I run_onnx.py MODEL IMAGES LOGITS.

IMAGES is an .npz file of batches, LOGITS the one to write with what the model makes of each.
"""

import sys

ABSENT = ("command_line", "promotion", "reporting", "search_spaces", "searchers", "seqconv", "torch", "training")


class _Absent:
    """Finds that there are no such packages, though the environment may have them installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r} here")


def main(model: str, images: str, logits: str) -> None:
    """Run the model on every batch."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    with np.load(images) as batches:
        found = [session.run(None, {taken.name: batches[name]})[0] for name in batches.files]
    np.savez(logits, *found)


if __name__ == "__main__":
    sys.meta_path.insert(0, _Absent)
    main(*sys.argv[1:])

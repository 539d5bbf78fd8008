"""Take models away as folders that stand alone: `seqconv.load` needs nothing else of this project."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from promotion.export_request import PARETO, ExportRequest
from promotion.exportable import Exportable
from promotion.folder import PROMOTION_FILE
from searchers.run_folder import RUN_FILE, check_writable, reading
from seqconv import Architecture, Complexity, read_architecture
from seqconv.networks.presets import FAMILIES, preset


def export_model(request: ExportRequest) -> Iterator[str]:
    """Write a folder for the model that is asked for, or one with a folder for each; yields lines for the user.

    Raises:
        ValueError: no such model, weights of another one, a format that does not compute what the model does, or an
            output folder that is in use.
        OSError: the output cannot be written. In either case it is not there at all.
    """
    found, out = _find(request), Path(request.out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out={out}: is there already; pass another out=, or an empty folder")
    check_writable("out", out)
    for exportable in found:
        yield f"{exportable.name}: {exportable.describe()}"
    if request.onnx or request.program:
        yield "tracing the graph, which takes some 10 s and a minute for a thousand convolutions"
    costs = _write(request, out, found)
    for exportable, cost in zip(found, costs, strict=True):
        yield from _say(exportable, cost, _folder(request, out, exportable))


def _find(request: ExportRequest) -> list[Exportable]:
    if request.preset is not None:
        return [_untrained(request, preset(request.preset), request.preset, {"preset": request.preset})]
    if request.architecture is not None:
        path = Path(request.architecture).expanduser()
        if not path.is_file():
            raise ValueError(f"architecture={path}: no such file; architecture= takes a YAML file, preset= a name")
        return [_untrained(request, read_architecture(path.resolve()), path.stem, {"file": path.name})]
    assert request.run is not None
    run = Path(request.run).expanduser()
    if (run / PROMOTION_FILE).is_file():
        from promotion.promoted import promoted

        with reading(f"run={run}"):
            return [promoted(run, request.trial, request.stage)]
    if not (run / RUN_FILE).is_file():
        there = f"no search or promotion there (neither {RUN_FILE} nor {PROMOTION_FILE})"
        raise ValueError(f"run={run}: {there}; run= takes a folder such as runs/NAME or promotions/NAME")
    if request.stage is not None:
        raise ValueError(f"run={run}: is a search, which has no stages: leave stage out")
    from promotion.searched import searched

    with reading(f"run={run}"):
        return searched(run, request.trial, request.cost)


def _untrained(request: ExportRequest, architecture: Architecture, name: str, origin: dict[str, str]) -> Exportable:
    family = FAMILIES[architecture.family]
    return Exportable(
        name=name,
        architecture=architecture,
        classes=family.classes if request.classes is None else request.classes,
        resolution=family.resolution if request.resolution is None else request.resolution,
        origin=origin,
    )


def _write(request: ExportRequest, out: Path, found: Sequence[Exportable]) -> list[Complexity]:
    """All of it or nothing: the folder is renamed once everything in it has been checked."""
    from promotion.export_folder import Contents, write_folder

    contents = Contents(**{name: getattr(request, name) for name in ("onnx", "program", "latency", "compiled")})
    costs = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            made = Path(scratch) / "made"
            for exportable in found:
                folder = _folder(request, made, exportable)
                folder.mkdir(parents=True)
                costs.append(write_folder(folder, exportable, contents))
            made.replace(out)
    except OSError as error:
        raise OSError(f"out={out}: cannot be written: {error.strerror or error}") from None
    return costs


def _folder(request: ExportRequest, out: Path, exportable: Exportable) -> Path:
    return out / exportable.name if request.trial == PARETO else out


def _say(exportable: Exportable, cost: Complexity, folder: Path) -> Iterator[str]:
    trained = "not trained" if exportable.result is None else exportable.result.describe()
    about = f"{cost.params:,} params, {cost.macs:,} MACs at {exportable.resolution} px"
    on = "" if exportable.dataset is None else f" on {exportable.dataset.name}"
    yield f"{trained}{on}, {about}"
    weights = "with weights" if exportable.weights is not None else f"without weights: {exportable.no_weights}"
    yield f"written to {folder}, {weights}"
    yield f"next: python -c \"import seqconv; model = seqconv.load('{folder}')\""

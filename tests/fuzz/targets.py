"""All that reads files and command lines that somebody else may have written."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import command_line
from promotion.export_request import ExportRequest
from reporting.request import ReportRequest, one_list
from search_spaces.space import sample, size
from search_spaces.summary import check_space
from seqconv import load, read_architecture
from seqconv.networks.presets import PRESETS
from seqconv.serialization import read_model, to_yaml
from tests.fuzz.campaign import Target
from tests.fuzz.mutations import WORDS, changed_file, changes, program, scalars, seeds, texts
from tests.real_data import write_cifar10
from tests.reporting.simulated import simulate
from tests.seqconv.strategies import architectures
from training.datasets import Cifar10, restricted_pickle

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
Take = Callable[[Any], bool]


def _architecture(folder: Path) -> Take:
    file = folder / "architecture.yaml"

    def take(content: bytes) -> bool:
        file.write_bytes(content)
        try:
            architecture = read_architecture(file)
        except ValueError:
            return False
        assert len(architecture.fingerprint()) == 16 and architecture.describe()
        file.write_text(to_yaml(architecture.to_dict()), encoding="utf-8")
        assert read_architecture(file) == architecture
        return True

    return take


def _search_space(_: Path) -> Take:
    """As `search.py` makes it of a file in conf/search_space."""

    def take(content: bytes) -> bool:
        try:
            data = OmegaConf.load(io.StringIO(content.decode()))
            if not OmegaConf.is_dict(data):
                return False
            config = OmegaConf.merge(data, {"_target_": "search_spaces.staged.StagedSpace"})
            space = command_line.instantiate(config)
            check_space(space)
            space.decode(sample(space, random.Random(0)))
            size(space)
        except (ValueError, OSError, OmegaConfBaseException, yaml.YAMLError):
            return False
        return True

    return take


def _command(folder: Path) -> Take:
    """Every command as far as it makes its objects, in an empty folder."""
    (folder / "mine" / "search_space").mkdir(parents=True)

    def instantiated(config: Any) -> int:
        command_line.instantiate(config)
        return 0

    def searched(config: Any) -> int:
        check_space(command_line.instantiate(config, plain=True).search_space)
        return 0

    mains = {"search": searched, "report": instantiated, "promote": instantiated, "export/export": instantiated}

    def take(given: tuple[str, list[str], bytes]) -> bool:
        config, arguments, own = given
        (folder / "mine" / "search_space" / "mine.yaml").write_bytes(own)
        rewrite = {"report": one_list}.get(config, list)
        said = io.StringIO()
        out = contextlib.redirect_stdout(io.StringIO())
        with _as_command(folder, [config, *arguments]), contextlib.redirect_stderr(said), out:
            try:
                code = command_line.run(mains[config], config=config, description="", rewrite=rewrite)
            except SystemExit as end:
                code = end.code
        assert code in (0, 2), f"exit code {code}"
        assert "Traceback" not in said.getvalue(), said.getvalue()
        return code == 0

    return take


@contextlib.contextmanager
def _as_command(folder: Path, arguments: list[str]) -> Iterator[None]:
    before, given = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = arguments
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = given


def _in_folder(place: Path, use: Callable[[], object]) -> Take:
    """One file of the folder is changed while `use` reads it, and where the input says so its store is gone too."""
    before = {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file() and path.name[0] != "."}
    store = place / "study.journal"

    def take(given: tuple[int, int]) -> bool:
        which, seed = given
        path = list(before)[which % len(before)]
        path.write_bytes(changed_file(path, before[path], seed))
        without_store = store in before and path.name.startswith("trials.")
        if without_store:
            store.write_bytes(b"{")
        try:
            use()
        except ValueError:
            return False
        finally:
            path.write_bytes(before[path])
            if without_store:
                store.write_bytes(before[store])
        return True

    return take


def _export(folder: Path) -> Take:
    import seqconv.networks.build  # noqa: F401 takes seconds, which are not the first input's

    folders = [Path(shutil.copytree(GOLDEN / name, folder / name)) for name in ("model_v1", "model_v2")]

    def use() -> None:
        for place in folders:
            read_model(place)
            load(place)

    return _in_folder(folder, use)


def _run(folder: Path) -> Take:
    """Read for a report, and for an export of its best and of its front."""
    from promotion.export import _find
    from reporting.reading import read_runs

    place = simulate(folder / "run", trials=8, seed=3)
    requests = [ExportRequest(run=str(place), trial=trial) for trial in ("best", "pareto")]

    def use() -> None:
        refusals = []
        for read in (lambda: read_runs([place]), *(functools.partial(_find, request) for request in requests)):
            try:
                read()
            except ValueError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]

    return _in_folder(place, use)


def _report(folder: Path) -> Take:
    from reporting.report import make_report

    place = simulate(folder / "run", trials=8, seed=3)
    request = ReportRequest(run=str(place), out=str(folder / "page.html"))
    return _in_folder(place, lambda: make_report(request))


def _promotion(folder: Path) -> Take:
    from promotion.export import _find
    from tests.promotion.exports import promotion

    trainings: dict[tuple[str, str], list[float | None]] = {
        ("trial-0007", "cifar"): [0.5, 0.25], ("preset-large", "cifar"): [0.4, None],
    }  # fmt: skip
    request = ExportRequest(run=str(promotion(folder / "promotion", trainings)))
    return _in_folder(folder / "promotion", lambda: _find(request))


def _cifar(folder: Path) -> Take:
    write_cifar10(folder / "cifar-10-batches-py", images=2)
    data = Cifar10(root=str(folder), verify=False, download=False)
    return _in_folder(folder, data.load)


def _archive(folder: Path) -> Take:
    write_cifar10(folder / "made" / "cifar-10-batches-py", images=1)
    place = folder / "place"
    place.mkdir()
    with tarfile.open(place / "cifar-10-python.tar.gz", "w:gz") as files:
        files.add(folder / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    data = Cifar10(root=str(place), verify=False, download=False)

    def use() -> None:
        shutil.rmtree(place / "cifar-10-batches-py", ignore_errors=True)
        data.load()
        assert sorted(path.name for path in folder.iterdir()) == ["made", "place"]

    return _in_folder(place, use)


def _pickle(_: Path) -> Take:
    def take(seed: int) -> bool:
        try:
            restricted_pickle.loads(program(seed), "file")
        except ValueError:
            return False
        return True

    return take


def _valid_architectures() -> list[Any]:
    patterns = ["1G", 3, "dense", "log", "harmonic", "split", "dilated(2, 1)", "random(seed=1, p=0.5)", [[0], [0, 1]]]
    stage = {"blocks": 1, "group_width": 8, "form": "plain", "subgroups": 1}
    head = {"schema": "seqconv.architecture", "version": 1, "family": "cifar", "widening": 1, "pyramid": [1]}
    return [
        *(architecture.to_dict() for architecture in PRESETS.values()),
        *({**head, "stages": [{**stage, "window": pattern}]} for pattern in patterns),
    ]


def _valid_spaces() -> list[Any]:
    files = sorted((ROOT / "conf" / "search_space").glob("*.yaml"))
    read = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files if file.stem != "fixed"]
    return [{key: value for key, value in data.items() if key != "_target_"} for data in read]


def _commands() -> st.SearchStrategy[tuple[str, list[str], bytes]]:
    """A command, keys that there are and others, with values of every kind, options of groups, and signs of Hydra."""
    conf = ROOT / "conf"
    files = ("search", "promote", "report", "export/export")
    keys = sorted({key for name in files for key in command_line._keys(conf / f"{name}.yaml")})
    options = sorted(f"{file.parent.name}={file.stem}" for file in conf.glob("*/*.yaml"))
    written = st.one_of(scalars.map(str), scalars.map(repr), st.sampled_from(_WRITTEN))
    setting = st.builds(
        "{}{}={}".format, st.sampled_from(_SIGNS), st.sampled_from(keys) | st.sampled_from(WORDS), written
    )
    argument = st.one_of(setting, setting, st.sampled_from(options), st.sampled_from(_ODD))
    return st.tuples(st.sampled_from(files), st.lists(argument, max_size=4), texts(_valid_spaces()))


_SIGNS = ("", "", "", "+", "++", "~")
_WRITTEN = (
    "[1,2]", "{a: 1}", "[null,", "'", '"', "${x}", "${seed}", "???", "1,2", "[[0],[1]]",
    "{type: integer, low: 1, high: 2}", "{type: float, low: 0, high: 1e300, step: 1e-300}", "[error,macs]",
    "{error: 1}", "\\", "a b", "[a,[b,{c: d}]]",
)  # fmt: skip
_ODD = (
    "search_space=mine", "search_space=mine", "~tracker", "=", "", "-x", "--cfg", "job", "--resolve", "a=b=c",
    "run=runs/a", "preset=cifar_b", "--config-dir=mine",
)  # fmt: skip

_VALID = architectures(any_pattern=True).map(lambda made: to_yaml(made.to_dict()).encode())

TARGETS = (
    Target(name="architecture", inputs=texts(_valid_architectures()) | _VALID, prepare=_architecture, share=0.32),
    Target(name="search space", inputs=texts(_valid_spaces()), prepare=_search_space, share=0.08),
    Target(name="pickle", inputs=seeds, prepare=_pickle, share=0.28),
    Target(name="cifar", inputs=changes, prepare=_cifar, share=0.2),
    Target(name="archive", inputs=changes, prepare=_archive, share=0.04),
    Target(name="export folder", inputs=changes, prepare=_export, share=0.03),
    Target(name="run folder", inputs=changes, prepare=_run, share=0.023),
    Target(name="promotion folder", inputs=changes, prepare=_promotion, share=0.01),
    Target(name="command line", inputs=_commands(), prepare=_command, share=0.015),
    Target(name="report", inputs=changes, prepare=_report, share=0.002),
)

"""What a trial costs a store: the journal of a run folder, and a study in PostgreSQL, turn by turn.

    SEQCONV_STORE_URL=postgresql://search@localhost/nas python benchmarks/shared_study.py --trials 100,1000

Nothing is proposed or trained: a trial is begun with the facts of a small architecture, reports two epochs, and ends.
The study gets a name of its own and stays in the database.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from search_spaces.space import sample
from search_spaces.staged import StagedSpace
from searchers.record import COMPLETED
from searchers.run_folder import RunFolder
from searchers.stores import Journal, Postgresql, Store
from searchers.study import TrialStore
from seqconv import measure

EPOCHS = 2
WINDOW = {"type": "float", "low": 0.25, "high": 2.0, "step": 0.25}
SPACE = StagedSpace(
    name="stages", pyramid=(1,), widening=1, stage1={"blocks": 1, "groups": 4, "window": WINDOW, "form": "plain"}
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default="100", help="numbers of trials after which the last 30 are told of")
    until = [int(number) for number in parser.parse_args(arguments).trials.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        shared = Postgresql(study=f"benchmark-{uuid.uuid4().hex[:8]}")
        stores = {"journal": opened(Journal(), Path(folder, "a")), "postgresql": opened(shared, Path(folder, "b"))}
        spent: dict[str, list[tuple[float, float, float]]] = {name: [] for name in stores}
        for number in range(max(until)):
            for name, store in stores.items():
                spent[name].append(trial(store, number))
            if number + 1 in until:
                for name, times in spent.items():
                    begin, epoch, end = (1000 * statistics.median(part) for part in zip(*times[-30:], strict=True))
                    whole = begin + EPOCHS * epoch + end
                    print(
                        f"{number + 1:>6} trials, {name:<10} begin {begin:.1f} epoch {epoch:.1f} end {end:.1f} "
                        f"in all {whole:.1f} ms"
                    )
        for store in stores.values():
            store.close()


def opened(config: Store, path: Path) -> TrialStore:
    """The store of a run folder of its own."""
    folder = RunFolder(path)
    folder.open({"search_space": {}, "dataset": {}, "trial": {}, "seed": 0, "store": config.where}, {})
    return config.open(folder, SPACE, ("error",), {"seed": 0}, print)


def trial(store: TrialStore, number: int) -> tuple[float, float, float]:
    """Seconds to look and begin, to report an epoch, and to end."""
    values = sample(SPACE, random.Random(number))
    architecture = SPACE.decode(values)
    cost = asdict(measure(architecture, resolution=8, classes=10))
    facts = {"fingerprint": f"{architecture.fingerprint()}-{number}", "architecture": architecture.to_dict(), **cost}
    moments = [time.perf_counter()]
    store.news()
    record = store.begin(values, facts)
    moments.append(time.perf_counter())
    for epoch in range(1, EPOCHS + 1):
        store.report(record.number, epoch, 0.5)
    moments.append(time.perf_counter())
    store.finish(record.number, COMPLETED, {"seconds": 1.0})
    moments.append(time.perf_counter())
    begin, epochs, end = (later - earlier for earlier, later in itertools.pairwise(moments))
    return begin, epochs / EPOCHS, end


if __name__ == "__main__":
    main()

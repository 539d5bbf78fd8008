"""Made-up promotions of every size."""

from typing import Any

import numpy as np

from promotion.transfer import Transfer, transfer


def made(
    n: int,
    *,
    seeds: int = 3,
    stages: tuple[str, ...] = ("cifar",),
    epochs: tuple[int, ...] = (1, 3, 9),
    stopped: int = 0,
    **settings: Any,
) -> Transfer:
    """`n` architectures with long and short names, of which so many are stopped before the last epoch."""
    random = np.random.default_rng(n)
    truth = random.normal(size=n)
    by_epoch = [{e: 0.3 + 0.02 * (t + random.normal() / e) for e in epochs} for t in truth]
    for errors in by_epoch[:stopped]:
        del errors[epochs[-1]]
    full = {stage: 0.1 + 0.01 * (truth[:, None] + 0.4 * random.normal(size=(n, seeds))) for stage in stages}
    for stage in stages[1:]:
        full[stage][: n // 2] = np.nan
    names = [f"trial-{i:04d}" if i % 3 else f"preset-seqresnet_b_{i}" for i in range(n)]
    return transfer(names, proxy=[e[max(e)] for e in by_epoch], proxy_errors=by_epoch, stages=full, **settings)

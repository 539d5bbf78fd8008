"""The proxies by name. No torch, so that a configuration can be checked without it."""

PROXIES = (
    "synflow",
    "snip",
    "grasp",
    "fisher",
    "jacob_cov",
    "naswot",
    "grad_norm",
    "zen",
    "zico",
    "params",
    "macs",
)
"""Each is described where it is computed; `params` and `macs` are the baselines that the others have to beat."""
FEWEST_IMAGES = 4
"""Of a batch: zico takes its deviations between two halves, and batch norm needs two images in each."""

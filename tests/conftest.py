"""What every test runs under: one thread, nothing sent anywhere, the same examples each time."""

import os

from hypothesis import settings

# Set before torch is imported: the machines that run the tests have two cores, and tiny tensors gain nothing from them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

pytest_plugins = ["tests.real_data"]

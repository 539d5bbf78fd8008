"""What every test runs under: one thread, nothing sent anywhere, the same examples each time."""

import os
import signal

from hypothesis import settings

# Set before torch is imported: the machines that run the tests have two cores, and tiny tensors gain nothing from them.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# A job in the background of a shell ignores Ctrl-C, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

pytest_plugins = ["tests.real_data"]

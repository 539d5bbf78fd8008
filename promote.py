"""Train in full what a search found: python promote.py run=runs/NAME top=3 [KEY=VALUE ...], or --help."""

import sys

from omegaconf import OmegaConf

import command_line
from promotion.arguments import of_stages
from promotion.config import STAGES


def main(config: command_line.Config) -> int:
    """Build the promotion that was configured and run it."""
    running = list(config.stages) if OmegaConf.is_list(config.stages) else []
    for stage in STAGES:
        if stage not in running:
            config[stage] = None  # what does not run need not be complete
    promotion = command_line.instantiate(config, plain=True)
    from promotion.run import run_promotion

    return run_promotion(promotion)


if __name__ == "__main__":
    sys.exit(command_line.run(main, config="promote", description=__doc__, rewrite=of_stages))

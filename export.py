"""Take a model away: python export.py run=runs/NAME [trial=best|NUMBER|pareto] [out=DIR], or --help."""

import sys

import command_line


def main(config: command_line.Config) -> int:
    """Write the folder that `seqconv.load` reads."""
    request = command_line.instantiate(config)
    from promotion.export import export_model

    for line in export_model(request):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main, config="export/export", description=__doc__))

"""Take a model out of a search: python export.py run=runs/NAME [trial=best|NUMBER] [out=DIR], or --help."""

import sys

import command_line


def main(config: command_line.Config) -> int:
    """Write the folder that `seqconv.load` reads."""
    request = command_line.instantiate(config)
    from searchers.export import export_trial

    for line in export_trial(request):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main, config="export/export", description=__doc__))

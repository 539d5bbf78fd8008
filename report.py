"""Look at what searches found: python report.py run=runs/NAME [run=runs/OTHER ...] [KEY=VALUE ...], or --help."""

import sys

import command_line
from reporting.request import one_list


def main(config: command_line.Config) -> int:
    """Write the page, or the images, that were asked for."""
    request = command_line.instantiate(config)
    from reporting.report import make_report

    for line in make_report(request):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main, config="report", description=__doc__, rewrite=one_list))

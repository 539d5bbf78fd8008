"""Search over aggregation windows: python search.py search_space=windowed [KEY=VALUE ...], or --help."""

import sys

import command_line


def main(config: command_line.Config) -> int:
    """Build the search that was configured and run it."""
    search = command_line.instantiate(config, plain=True)
    from promotion.transfer_report import rung_lines
    from reporting.report import conclude
    from searchers.run import run_search

    return run_search(search, remarks=lambda folder, records: [*rung_lines(records), *conclude(folder, search.report)])


if __name__ == "__main__":
    sys.exit(command_line.run(main, config="search", description=__doc__))

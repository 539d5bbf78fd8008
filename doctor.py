"""Look at a run folder and repair it: python doctor.py run=runs/NAME [repair=true], or --help."""

import sys

import command_line


def main(config: command_line.Config) -> int:
    """Print what is damaged, and repair it where that was asked for."""
    request = command_line.instantiate(config)
    from searchers.doctor.visit import visit

    return visit(request)


if __name__ == "__main__":
    sys.exit(command_line.run(main, config="doctor", description=__doc__))

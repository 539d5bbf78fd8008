"""From KEY=VALUE arguments to plain objects, for every entry script: the one module that knows of Hydra.

Bad input ends in one clear message and exit code 2; --help is written from the first comment of each file in conf/.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seqconv import validation

CONF = Path(__file__).resolve().parent / "conf"
Config = DictConfig
INTERRUPTED = 130


def run(
    main: Callable[[Config], int],
    *,
    config: str,
    description: str | None,
    rewrite: Callable[[Sequence[str]], Sequence[str]] = list,
) -> int:
    """Compose the configuration from the command line and call `main` with it.

    Args:
        main: gets the composed configuration and returns the exit code.
        config: file under conf/, without .yaml; its folder holds its groups.
        description: first line of --help.
        rewrite: makes of the arguments those that are composed, where a command has a shorter way to say them.

    Returns:
        What `main` returns, or 2 for input that cannot be used.

    Raises:
        SystemExit: 130 for an interrupt, 2 for a flag that Hydra does not know.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print("\n".join(help_lines(CONF / f"{config}.yaml", description or "")))
        return 0
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra
    from hydra.errors import HydraException

    file = CONF / f"{config}.yaml"
    codes = [0]
    given = sys.argv

    def job(composed: Config) -> None:
        sys.argv = given
        codes.append(_guarded(main, composed))
        if codes[-1] == INTERRUPTED:
            raise SystemExit(INTERRUPTED)  # the jobs that --multirun has still to come are not begun

    try:
        sys.argv = [given[0], *_with_groups(rewrite(given[1:]), file)]
        hydra.main(str(file.parent), file.stem, version_base="1.3")(job)()
    except yaml.YAMLError as error:
        return _refuse(f"a configuration file is not valid YAML: {error}")
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        return _refuse(explain(error, file))
    finally:
        sys.argv = given
    return max(codes)


def instantiate(config: Config, *, plain: bool = False) -> Any:
    """The object that `_target_` names, with everything below it; `plain` also hands it its configuration as data.

    Raises:
        ValueError: a value that its owner refuses, or a mandatory one that is missing.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as hydra_instantiate

    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ValueError(f"{missing[0]} must be given: {missing[0]}=...")
    try:
        made = hydra_instantiate(config, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, (ValueError, OSError)):
            raise cause from None
        if isinstance(cause, OverflowError):
            raise ValueError(f"{_full_key(error)}: a number in it is beyond all that are used: {cause}") from None
        if isinstance(cause, TypeError):
            raise ValueError(_wrong_keys(cause, _full_key(error))) from None
        if isinstance(cause, ImportError):
            raise ValueError(f"{_full_key(error)}._target_: {cause}") from None
        raise
    return replace(made, plain=OmegaConf.to_container(config, resolve=True)) if plain else made


def explain(error: Exception, file: Path) -> str:
    """Hydra's message, with the near names where a name is unknown."""
    from hydra.errors import OverrideParseException

    text = str(error) or str(error.__cause__)
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read {error.override!r}: write KEY=VALUE, such as trials=24 or budget.params=[100000,null]; "
            f"a value with commas or brackets of its own goes into quotes: 'run=\"runs/a (1)\"'"
        )
    if match := re.search(r"Could not override '([^']+)'", text):
        name = match[1]
        if elsewhere := _key_of_others(name, file):
            return elsewhere
        if name in _keys(file):
            group = name.partition(".")[0]
            return f"{name} takes a value or the keys that it has: what has others goes into a file in conf/{group}/"
        return f"no configuration key or group {name!r}{_near_keys(name, file)}. See --help"
    if match := re.search(r"Could not find '([^'/]+)/([^']+)'", text):
        return _unknown_option(file, match[1], match[2])
    for key, _, option in (argument.partition("=") for argument in sys.argv[1:]):
        if text.startswith("Config group override must be") and key.rpartition("@")[2] in _groups(file):
            return _unknown_option(file, _groups(file)[key.rpartition("@")[2]].folder, option)
    return text


def help_lines(file: Path, description: str) -> Iterator[str]:
    """Usage, groups with their options, and the top-level keys, one line each."""
    yield description
    yield ""
    groups = _groups(file)
    yield f"usage: python {Path(sys.argv[0]).name} {'[GROUP=OPTION ...] ' if groups else ''}[KEY=VALUE ...]"
    if groups:
        yield "\ngroups, and the options of each (* is the default):"
    for folder in dict.fromkeys(group.folder for group in groups.values()):
        defaults = {key: group.default for key, group in groups.items() if group.folder == folder}
        alone = list(defaults) == [folder]
        yield f"\n  {folder}" + ("" if alone else f", as {' and '.join(map('='.join, defaults.items()))}")
        yield from _option_lines(file.parent / folder, defaults[folder] if alone else None)
    yield "\nkeys:\n"
    for line in file.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(\w+): *(\S.*?) +# (.*)", line):
            yield f"  {match[1] + '=' + match[2].replace('???', ''):<20} {match[3]}"
    if groups:
        yield "\nHydra's flags work too: --cfg job prints the configuration, --multirun KEY=A,B runs two in turn."
    yield "SEQCONV_TRACEBACK=1 in the environment shows where an error comes from."


def _option_lines(folder: Path, default: str | None) -> Iterator[str]:
    """The options of a group, and below them the keys that they have."""
    options = _options(folder)
    keys = {option: [key for key in _load(folder / f"{option}.yaml") if key != "_target_"] for option in options}
    width = max(10, *map(len, options))
    for option, following in itertools.zip_longest(options, options[1:]):
        yield f"   {'*' if option == default else ' '} {option:<{width}} {_comment(folder / f'{option}.yaml')}"
        if keys[option] != keys.get(following):
            yield from _wrapped(f"{folder.name}.{key}" for key in keys[option])


def _guarded(main: Callable[[Config], int], config: Config) -> int:
    """Inside Hydra, which would print a stack trace of its own before an error could be told to the user."""
    try:
        return main(config)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, OSError, OmegaConfBaseException) as error:
        return _refuse(str(error))


def _wrong_keys(error: TypeError, full_key: str) -> str:
    """A dataclass refused a keyword that +key=value added, or misses one that ~key removed."""
    prefix = f"{full_key}." if full_key else ""
    if match := re.search(r"unexpected keyword argument '([^']+)'", str(error)):
        return f"no configuration key {prefix + match[1]!r}. See --help"
    if match := re.search(r"missing \d+ required keyword-only arguments?: '([^']+)'", str(error)):
        return f"the configuration key {prefix + match[1]!r} must not be removed. See --help"
    return str(error)


def _near_keys(name: str, file: Path) -> str:
    keys = _keys(file)
    as_deep = [key for key in keys if key.count(".") == name.count(".")]
    near = validation.did_you_mean(name, as_deep) or validation.did_you_mean(name, keys)
    return near or f"; groups are {', '.join(_groups(file)) or 'none'}"


def _key_of_others(name: str, file: Path) -> str | None:
    """The message for a key that other options of its group have, and the chosen one has not."""
    for key, group in _groups(file).items():
        if not name.startswith(f"{key}."):
            continue
        chosen, own, folder = _chosen(key, group), name.removeprefix(f"{key}."), file.parent / group.folder
        having = [option for option in _options(folder) if _has(_load(folder / f"{option}.yaml"), own)]
        if having and chosen not in having:
            others = f"{', '.join(f'{key}={option}' for option in having)} {'has' if len(having) == 1 else 'have'} it"
            return f"{key}={chosen} has no key {own}; {others}"
    return None


def _chosen(key: str, group: _Group) -> str:
    """The option of a group that the command line asks for."""
    given = [argument.partition("=") for argument in sys.argv[1:]]
    options = [option for name, _, option in given if name.rpartition("@")[2] == key]
    return options[-1] if options else group.default


def _has(data: Any, key: str) -> bool:
    return any(leaf == key or leaf.startswith(f"{key}.") for leaf in _leaves(data))


def _unknown_option(file: Path, group: str, option: str) -> str:
    options = _options(file.parent / group)
    near = validation.did_you_mean(option, options)
    return f"no option {option!r} in group {group}{near}; there are {', '.join(options)}"


def _refuse(message: str) -> int:
    if os.environ.get("SEQCONV_TRACEBACK"):
        traceback.print_exc()
    from searchers.redaction import redacted_text

    one_line = " ".join(line.strip() for line in message.splitlines() if line.strip())
    print("error:", redacted_text(one_line), file=sys.stderr)
    return 2


def _full_key(error: Exception) -> str:
    """Where in the configuration Hydra could not make an object."""
    match = re.search(r"full_key: (\S+)", str(error))
    return match[1] if match else ""


def _load(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {}


@dataclass(frozen=True, kw_only=True)
class _Group:
    """One entry of a defaults list."""

    folder: str
    """Folder of its options, beside the configuration file."""
    default: str
    """Option that is taken where none is given."""


def _groups(file: Path) -> dict[str, _Group]:
    """Groups of a configuration file, by the key under which their option stands."""
    entries = (entry for entry in _load(file).get("defaults", []) if isinstance(entry, dict))
    named = ((key.partition("@"), option) for entry in entries for key, option in entry.items())
    return {
        key or folder: _Group(folder=folder, default=option)
        for (folder, _, key), option in named
        if not folder.startswith("override ")
    }


def _with_groups(arguments: Sequence[str], file: Path) -> Iterator[str]:
    """The arguments as Hydra reads them: an option that stands under another key than its folder needs both."""
    groups = _groups(file)
    for argument in arguments:
        key = argument.partition("=")[0].lstrip("+~")
        if key in groups and key != groups[key].folder:
            argument = argument.replace(key, f"{groups[key].folder}@{key}", 1)
        yield argument


def _options(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml"))


def _keys(file: Path) -> list[str]:
    groups = {key: file.parent / group.folder for key, group in _groups(file).items()}
    nested = {
        f"{key}.{leaf}" for key, g in groups.items() for o in _options(g) for leaf in _leaves(_load(g / f"{o}.yaml"))
    }
    return [*_leaves(_load(file)), *groups, *sorted(nested)]


def _leaves(data: Any, prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        if key in ("defaults", "hydra", "_target_"):
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _comment(file: Path) -> str:
    return file.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()


def _wrapped(keys: Iterator[str]) -> Iterator[str]:
    width = min(120, shutil.get_terminal_size().columns)
    yield from textwrap.wrap(" ".join(keys), width, initial_indent=" " * 16, subsequent_indent=" " * 16)

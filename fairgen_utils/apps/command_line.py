"""Faces with the shares you choose, and the shares of faces you have.

  1. python -m fairgen_utils checkup          is this machine ready? says what to mend
  2. python -m fairgen_utils demo             plain and guided faces side by side, with the numbers
  3. python -m fairgen_utils generate ...     a dataset of faces, in shares of your choice
  4. python -m fairgen_utils measure ...      the shares of any folder of faces

Ask a command for its options and an example: python -m fairgen_utils generate --help
"""

import argparse
import contextlib
import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

# Nothing is imported here that Python itself does not bring: `checkup` must be able to say so.

DONE, NOT_READY, REFUSED, INTERRUPTED = 0, 1, 2, 130
CODES = """exit codes:
  0    done; what could not be printed or drawn afterwards is told, and changes nothing
  1    checkup: something needs mending, each line says how
  2    refused or not finished, the last line says why; no file is left half written
  130  interrupted (Ctrl-C); generate and shards go on where they were if given again
"""
WORLD = "heads, utkface, celeba, or module:function of yours that returns a world (default: heads)"
TARGET = (
    "attributes to make even jointly (gender,ancestry), or the shares you want, in the order of "
    "the world's groups (gender=0.3,0.7); default: the world's own target"
)
METHOD = (
    "guided: plain sampling, steered by a mixture of the groups (default); plain: as the generator "
    "makes them, for comparison; localized: started from the mixture, after a pilot"
)

COMMANDS = {
    "checkup": ("is this machine ready for the course?", "python -m fairgen_utils checkup"),
    "demo": (
        "plain faces, the same noise guided, and the numbers: a picture and a report",
        "python -m fairgen_utils demo --world utkface --target gender",
    ),
    "generate": (
        "a dataset of faces: images/, labels.csv, provenance.json. Stop it when you like: the same "
        "command goes on where it was",
        "python -m fairgen_utils generate --target gender,ancestry --n 5000 --out faces",
    ),
    "measure": (
        "shares in a folder or zip of pictures, with intervals; nothing in it is changed",
        "python -m fairgen_utils measure faces/images --attributes gender,ancestry",
    ),
    "dashboard": (
        "one page to project: choose shares, press a button, watch faces and numbers arrive. With "
        "settings.json of one of its exports: the same faces again",
        "python -m fairgen_utils dashboard settings.json --out again",
    ),
    "shards": (
        "really many faces, by any number of processes, each making every so-manieth shard. A "
        "killed run goes on where it was",
        "torchrun --standalone --nproc-per-node 2 -m fairgen_utils shards --faces 50000 --out "
        "faces",
    ),
    "bench": (
        "time plain diffusers, our samplers and their rivals on this machine; options go to "
        "data/recipes/bench.py",
        "python -m fairgen_utils bench --worlds heads",
    ),
}
PASSED_ON = ("dashboard", "bench")  # their options are their own


def parser():
    """The command line's parser: a subcommand for each of `COMMANDS`."""
    look = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    top = argparse.ArgumentParser(
        prog="python -m fairgen_utils", description=__doc__, epilog=CODES, **look
    )
    several = top.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    found = {}
    for name, (purpose, example) in COMMANDS.items():
        help_first = purpose.partition(". ")[0].partition(";")[0]
        told = {"description": textwrap.fill(purpose[0].upper() + purpose[1:] + ".", 80)}
        told |= {"epilog": f"example:\n  {example}\n\n{CODES}", "add_help": name != "bench"}
        found[name] = several.add_parser(name, help=help_first, **told, **look)
    _demo_options(found["demo"])
    _generate_options(found["generate"])
    _shards_options(found["shards"])
    measure = found["measure"]
    measure.add_argument("folder", type=Path, help="pictures: .jpg, .jpeg, .png; subfolders, too")
    measure.add_argument("--world", default="heads", help=WORLD)
    measure.add_argument(
        "--attributes",
        action="append",
        help="also the joint shares of these (gender,race); may be given again; default: the "
        "world's own target. Single attributes are always reported",
    )
    measure.add_argument("--out", type=Path, default=Path("outputs"), help="default: outputs/")
    return top


def _demo_options(demo):
    _order_options(demo)
    demo.add_argument("--n", type=int, default=500, help="faces per method (default: 500)")
    demo.add_argument("--out", type=Path, default=Path("outputs"), help="default: outputs/")


def _generate_options(generate):
    _order_options(generate)
    generate.add_argument("--n", type=int, default=1000, help="how many faces (default: 1000)")
    generate.add_argument("--out", type=Path, required=True, help="new folder, or one begun before")
    generate.add_argument(
        "--pairs",
        action="store_true",
        help="of --method guided: also pairs/, each face as plain sampling makes it (left) and "
        "guided (right), from the same noise",
    )
    generate.add_argument("--device", help="cuda, mps or cpu (default: the fastest that is there)")
    generate.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")


def _shards_options(shards):
    _order_options(shards)
    # not --n: torchrun would take that for an option of its own
    shards.add_argument("--faces", type=int, default=1000, help="how many (default: 1000)")
    shards.add_argument("--out", type=Path, required=True, help="folder; resumed if begun")
    shards.add_argument(
        "--shard-size", type=int, default=256, help="faces in a shard, a multiple of 64"
    )
    shards.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")


def _order_options(command):
    command.add_argument("--world", default="heads", help=WORLD)
    # several, since PowerShell hands over gender,ancestry as two words
    command.add_argument("--target", nargs="+", help=TARGET)
    command.add_argument(
        "--method", choices=("guided", "plain", "localized"), default="guided", help=METHOD
    )
    command.add_argument(
        "--strength", type=float, help="of guidance; 0 is plain sampling (default: the world's own)"
    )
    command.add_argument("--seed", type=int, default=0, help="same seed, same faces (default: 0)")
    command.add_argument(
        "--pilot",
        type=int,
        default=60,
        help="of --method localized: pilot faces per component (default: 60)",
    )


def main(arguments=None):
    """Read the command line and do what it asks.

    Returns
    -------
    int
        0 when done, 1 when the checkup found something to mend. For bad input, and for work that
        could not be finished, SystemExit with status 2 is raised; with 130 when interrupted.
    """
    with _steady_streams():
        return _main(arguments)


def _main(arguments):
    top = parser()
    options, rest = top.parse_known_args(arguments)
    name = options.command
    if rest and name not in PASSED_ON:
        top.error(
            f"{name} has no {' '.join(rest)}: python -m fairgen_utils {name} --help lists what it "
            'has; where the shell parts words at commas (PowerShell), quote them: "gender,ancestry"'
        )
    if getattr(options, "target", None):
        options.target = ",".join(options.target)
    try:
        if name == "bench":
            return _bench(rest)
        if name == "dashboard":
            return _dashboard(rest)
        module = {"generate": "dataset", "measure": "folder"}.get(name, name)
        return importlib.import_module(f"fairgen_utils.apps.{module}").command(options) or DONE
    except ModuleNotFoundError as error:
        top.exit(REFUSED, f"{error}: python -m fairgen_utils checkup says what is missing\n")
    except (ValueError, OSError) as error:
        top.exit(REFUSED, f"{error}\n")
    except KeyboardInterrupt:
        again = "the same command goes on where it was" if name in ("generate", "shards") else ""
        top.exit(INTERRUPTED, "; ".join(filter(None, ["interrupted", again])) + "\n")


def _bench(rest):
    recipe = _in_repository("data", "recipes", "bench.py")
    return subprocess.run([sys.executable, str(recipe), *rest]).returncode


def _dashboard(rest):
    return importlib.import_module("fairgen_utils.apps.dashboard").main(rest) or DONE


def _in_repository(*parts):
    # imported here: it needs a package, and `checkup` must not
    root = importlib.import_module("fairgen_utils._files").data_folder().parent
    path = root.joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; restore it: 'git checkout -- {parts[0]}'")
    return path


class _Steady:
    """A stream whose trouble is its own: a closed pipe or a full disk ends no work."""

    def __init__(self, stream):
        self._stream = stream
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="replace")  # a letter the terminal lacks becomes a ?

    def write(self, text):
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._let_be()
            return len(text)

    def flush(self):
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._let_be()

    def _let_be(self):
        """What is still in the buffer goes nowhere, so that Python can end in peace."""
        with contextlib.suppress(AttributeError, OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def _steady_streams():
    out, err = (stream and _Steady(stream) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            for stream in filter(None, (out, err)):
                stream.flush()


if __name__ == "__main__":
    sys.exit(main())

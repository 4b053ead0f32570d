"""The bias dashboard: choose shares, press a button, watch faces and their numbers arrive.

`Dashboard()` in a notebook, or ``make dashboard``. What it exports comes with its settings, and

    python -m fairgen_utils.dashboard settings.json --out again

makes the same faces from them.
"""

import argparse
import base64
import html
import io
import json
import threading
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from fairgen_utils import show
from fairgen_utils._checks import check_count, check_target
from fairgen_utils.apps.demo import panels_of
from fairgen_utils.generate import Sample, generate
from fairgen_utils.judge import audit_fairness, audit_quality
from fairgen_utils.load import Predictions, best_device, load_world
from fairgen_utils.localize import component_table, localized_mixture, solve_weights

BATCH = 24  # faces between two looks at the cancel button: about a second


PILOT_SEED, FACES_SEED = 1, 2


PILOT_FACES = 60  # of each component, as everywhere in the course


MOST = 1000  # more faces than this make a page slow; the command line makes any number


LEAST_FOR_QUALITY = 100  # a Frechet distance of fewer faces says little


# name -> (localized?, means moved outward?, weights from a pilot?)
METHODS = {
    "plain sampling": (False, False, False),
    "localized, even components": (True, False, False),
    "localized, weights from a pilot": (True, False, True),
    "localized, means moved outward": (True, True, True),
}


STYLE = """<style>
.widget-html-content { line-height: 1.5 }
.widget-html-content a { color: #0056a3; text-decoration: underline }
.numbers { border-collapse: collapse }
.numbers caption { text-align: left; font-weight: bold }
.numbers th, .numbers td { padding: .2rem .8rem .2rem 0; text-align: left }
.numbers td { font-variant-numeric: tabular-nums; border-top: 1px solid #999 }
.numbers th[scope=row] { border-top: 1px solid #999 }
</style>"""


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run's faces.

    Attributes
    ----------
    world : str
    method : str
        A name in `METHODS`.
    attribute : str
        Joined by commas: ``"gender,ancestry"``.
    target : tuple of float
        Share wanted of every group of `attribute`, in the order of ``world.groups(attribute)``.
    n : int
        Faces, at most `MOST`.
    seed : int
    """

    world: str
    method: str
    attribute: str
    target: tuple
    n: int
    seed: int

    @classmethod
    def read(cls, path):
        """The settings that an export holds.

        Raises
        ------
        ValueError
            If the file is damaged, or no such settings.
        """
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(**{**stored, "target": tuple(stored["target"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"path: {path} holds no settings of a run ({error!r})") from None


class Studio:
    """Makes faces batch by batch; worlds, mixtures and pilots are kept for the next run.

    The pilot doesn't depend on the target: who only moves the sliders waits for it once.

    Parameters
    ----------
    root : path, optional
        The folder that holds the worlds, as in `load_world`.
    """

    def __init__(self, root=None):
        self.root, self._worlds, self._mixtures, self._tables = root, {}, {}, {}

    def world(self, name):
        """A shipped world, loaded once."""
        if name not in self._worlds:
            self._worlds[name] = load_world(name, self.root, best_device())
        return self._worlds[name]

    def check(self, settings):
        """Refuse settings that cannot be run, before anything is made.

        Raises
        ------
        ValueError
        """
        world = self.world(settings.world)
        if settings.method not in METHODS:
            raise ValueError(f"method: found {settings.method!r}; choose from {list(METHODS)}")
        check_target(settings.target, len(world.groups(settings.attribute)))
        check_count(settings.n, "n")
        if settings.n > MOST:
            raise ValueError(
                f"n: found {settings.n}; at most {MOST} fit a page, "
                "'python -m fairgen_utils generate' makes any number"
            )
        world.confusion(settings.attribute)  # can the classifier tell these groups apart?

    def batches(self, settings):
        """Make a run's faces.

        Yields
        ------
        job : str
            ``"pilot"`` or ``"faces"``.
        done, wanted : int
            Faces of this job so far, and in all.
        sample : Sample or None
            All faces so far; None during the pilot.
        """
        self.check(settings)
        world = self.world(settings.world)
        localized, outward, fitted = METHODS[settings.method]
        mixture = weights = None
        if localized:
            mixture = self._mixture(world, settings.attribute, outward)
            weights = np.full(len(mixture.weights_), 1 / len(mixture.weights_))
        if fitted:
            key = settings.world, settings.method, settings.attribute, settings.seed
            if key not in self._tables:
                n = PILOT_FACES * len(weights)
                for pilot in _samples(world, n, settings.seed, PILOT_SEED, mixture, weights):
                    yield "pilot", len(pilot), n, None
                labels = world.joint(pilot.predictions.labels, settings.attribute)
                groups = len(world.groups(settings.attribute))
                self._tables[key] = component_table(pilot.components, labels, len(weights), groups)
            confusion = world.confusion(settings.attribute)
            weights = solve_weights(self._tables[key], settings.target, confusion)
        for sample in _samples(world, settings.n, settings.seed, FACES_SEED, mixture, weights):
            yield "faces", len(sample), settings.n, sample

    def _mixture(self, world, attribute, outward):
        key = world.name, attribute
        if key not in self._mixtures:
            self._mixtures[key] = localized_mixture(world, attribute)
        return self._mixtures[key].overshoot(world.overshoot) if outward else self._mixtures[key]


def _samples(world, n, seed, job, mixture, weights):
    """All faces so far, after every batch. Each batch has a seed of its own."""
    sample = None
    for number, start in enumerate(range(0, n, BATCH)):
        key = np.random.SeedSequence((seed, job, number))
        own = int(key.generate_state(1)[0])
        made = generate(world, min(BATCH, n - start), own, mixture, weights, progress=False)
        sample = made if sample is None else _joined(sample, made)
        yield sample


def _joined(first, second):
    """Two samples as one."""
    said = [first.predictions, second.predictions]

    def both(dicts):
        return {name: np.concatenate([part[name] for part in dicts]) for name in dicts[0]}

    return Sample(
        np.concatenate([first.images, second.images]),
        Predictions(
            both([part.labels for part in said]),
            both([part.probabilities for part in said]),
            np.concatenate([part.features for part in said]),
        ),
        None if first.components is None else np.concatenate([first.components, second.components]),
        first.seconds + second.seconds,
    )


def contact_sheet(images, columns=20):
    """Faces as one PNG: bytes."""
    blank = np.full_like(images[:1], 255)
    missing = -len(images) % columns
    return _png(show.face_sheet(np.concatenate([images, *[blank] * missing]), columns))


def export(world, settings, sample):
    """Pictures, labels and settings of a run in one archive.

    Returns
    -------
    bytes
        A zip of ``faces/00000.png`` and so on, ``labels.csv`` (file, group of each attribute as
        the classifier reads it), ``contact_sheet.png`` and ``settings.json``. A run that was
        stopped early has the settings of the faces it made.
    """
    files = [f"faces/{i:05}.png" for i in range(len(sample))]
    labels = {
        name: np.take(groups, sample.predictions.labels[name])
        for name, groups in world.attributes.items()
    }
    stored = asdict(settings) | {"n": len(sample)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, image in zip(files, sample.images, strict=True):
            archive.writestr(zipfile.ZipInfo(file), _png(image))
        for file, content in {
            "labels.csv": pd.DataFrame({"file": files} | labels).to_csv(index=False),
            "contact_sheet.png": contact_sheet(sample.images),
            "settings.json": json.dumps(stored, indent=1) + "\n",
        }.items():
            archive.writestr(zipfile.ZipInfo(file), content)
    return buffer.getvalue()


def _png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _data(content, kind):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


class Dashboard(ipywidgets.HBox):
    """Knobs on the left, faces and numbers on the right.

    Parameters
    ----------
    world : str
        The world to begin with.
    root : path, optional
        The folder that holds the worlds, as in `load_world`.
    """

    def __init__(self, world="heads", root=None):
        self.studio, self.thread = Studio(root), None
        self.settings = self.sample = None  # of the faces on show
        self._plain = {}  # world -> its last plain faces, to compare with
        self._stop = threading.Event()
        self._build(world)
        super().__init__([self._knobs, self._results], layout={"flex_flow": "row wrap"})
        self._turn_world()

    def __repr__(self):
        return "(run this cell to see the dashboard)"

    def generate(self, _=None):
        """Start making faces, in the background; `thread` ends when they are there."""
        if self.thread is not None and self.thread.is_alive():
            return
        try:
            settings = self.chosen()
            self.studio.check(settings)
        except ValueError as error:
            self._say(f"Not started. {error}")
            return
        self._stop.clear()
        self._busy(True)
        self.thread = threading.Thread(target=self._run, args=(settings,), daemon=True)
        self.thread.start()

    def cancel(self, _=None):
        """Stop after the batch at work; what has been made stays."""
        self._stop.set()
        self._say("Stopping after this batch ...")

    def chosen(self):
        """The settings that the knobs show now.

        Raises
        ------
        ValueError
            If no attribute is ticked, or all shares of one are zero.
        """
        names = self._ticked()
        if not names:
            raise ValueError("Tick at least one attribute.")
        target = np.ones(1)
        for name in names:
            target = np.outer(target, self._wanted(name)).ravel()
        return Settings(
            self.world.value,
            self.method.value,
            ",".join(names),
            tuple(target.tolist()),
            self.n.value,
            self.seed.value,
        )

    # what happens in the background

    def _run(self, settings):
        said = "Done"
        try:
            for job, done, wanted, sample in self.studio.batches(settings):
                self.progress.max, self.progress.value = wanted, done
                if sample is None:
                    self._say(f"Pilot, which finds the weights: {done} of {wanted} faces ...")
                else:
                    self.settings, self.sample = settings, sample
                    self._say(f"{done} of {wanted} faces ...")
                    self._show()
                if self._stop.is_set() and (job, done) != ("faces", wanted):
                    said = "Stopped early"
                    break
            made = 0 if self.settings is not settings else len(self.sample)
            after = f" in {self.sample.seconds:.0f} s" if made else ""
            self._say(f"{said}: {made} faces{after}.")
        except Exception as error:  # a thread's traceback would be seen by nobody
            self._say(f"This failed. {type(error).__name__}: {error}")
        finally:
            self._busy(False)

    def _show(self):
        world, settings, sample = self.studio.world(self.settings.world), self.settings, self.sample
        if settings.method == "plain sampling":
            self._plain[world.name] = sample
        samples = {}
        if world.name in self._plain:
            samples["plain"] = (show.PLAIN, self._plain[world.name])
        if settings.method != "plain sampling":
            samples["localized"] = (show.FAIR, sample)
        attribute, target = settings.attribute, settings.target
        rows = {
            name: (colour, audit_fairness(world, found.predictions, attribute, target))
            for name, (colour, found) in samples.items()
        }
        panels = panels_of(world, attribute, np.asarray(target), samples)
        joint = attribute.replace(",", " and ")
        figure = show.share_panels(panels, discrepancies=rows)
        alt = f"Shares of {joint} beside their targets, and the distance from the target."
        png = show.picture(figure, alt).data
        self.bars.value = f'<img alt="{alt}" src="{_data(png, "image/png")}" style="width:100%">'
        self.numbers.value = self._table(world, samples, rows, joint)
        newest = _png(show.face_sheet(sample.images[-BATCH:], BATCH // 2))
        self.faces.value = (
            f'<img alt="The newest {BATCH} faces" src="{_data(newest, "image/png")}" '
            'style="width:100%">'
        )
        self.links.value = ""

    def _table(self, world, samples, rows, joint):
        """Numbers as a table, a row for each series."""
        lines = []
        for name, (_, fairness) in rows.items():
            found = samples[name][1]
            quality = "more faces needed"
            if len(found) >= LEAST_FOR_QUALITY:
                quality = f"{audit_quality(world, found.predictions)['ffd']:.1f}"
            lines.append(
                "<tr><th scope='row'>{}</th><td>{n}</td><td>{fd:.3f}</td>"
                "<td>{fd_corrected:.3f} ({fd_corrected_low:.3f} to {fd_corrected_high:.3f})</td>"
                "<td>{fd_floor95:.3f}</td><td>{}</td></tr>".format(name, quality, **fairness)
            )
        heads = ("faces", "N", "FD", "FD corrected (95 %)", "noise floor", "Frechet distance")
        header = "".join(f"<th scope='col'>{head}</th>" for head in heads)
        return (
            f"{STYLE}<table class='numbers'><caption>{html.escape(joint)}</caption>"
            f"<tr>{header}</tr>{''.join(lines)}</table>"
            "<p>FD is the distance from the target; corrected accounts for the classifier's known "
            "errors. A generator exactly at the target stays below the noise floor in 95 of 100 "
            "runs of this size. Frechet distance: to balanced real faces, lower is better; only "
            "equal N compare. Groups are what a classifier perceives, not identities.</p>"
        )

    def _export(self, _):
        if self.sample is None:
            self.links.value = "<p>Nothing to export yet: generate faces first.</p>"
            return
        world = self.studio.world(self.settings.world)
        stem = f"{world.name}_seed{self.settings.seed}_n{len(self.sample)}"
        archive = _data(export(world, self.settings, self.sample), "application/zip")
        sheet = _data(contact_sheet(self.sample.images), "image/png")
        self.links.value = (
            f'{STYLE}<a download="{stem}.png" href="{sheet}">contact sheet (PNG)</a>, '
            f'<a download="{stem}.zip" href="{archive}">everything (zip: faces, labels.csv, '
            "settings.json)</a>"
        )

    # the widgets

    def _build(self, world):
        wide = {"style": {"description_width": "70px"}, "layout": {"width": "300px"}}
        root = Path(self.studio.root or Path(__file__).resolve().parents[2] / "data")
        worlds = sorted(path.parent.name for path in root.glob("*/world.json"))
        self.world = ipywidgets.Dropdown(
            options=worlds, value=world, description="world", tooltip="whose faces", **wide
        )
        self.method = ipywidgets.Dropdown(
            options=list(METHODS),
            description="method",
            tooltip="how faces are drawn; see notebook 6",
            **wide,
        )
        self.n = ipywidgets.IntSlider(
            value=200,
            min=50,
            max=MOST,
            step=50,
            description="faces",
            tooltip="more faces: narrower intervals, a lower noise floor",
            **wide,
        )
        self.seed = ipywidgets.BoundedIntText(
            value=0,
            min=0,
            max=2**31 - 1,
            description="seed",
            tooltip="same seed, same faces",
            **wide,
        )
        self.attributes, self.targets = ipywidgets.VBox(), ipywidgets.VBox()
        half = {"layout": {"width": "145px"}}
        self.start = ipywidgets.Button(
            description="Generate", button_style="primary", tooltip="make the faces", **half
        )
        self.stop = ipywidgets.Button(
            description="Cancel", disabled=True, tooltip="stop after this batch", **half
        )
        self.save = ipywidgets.Button(
            description="Export", tooltip="faces, labels and settings as files", **half
        )
        self.progress = ipywidgets.IntProgress(max=1, layout={"width": "300px"})
        self.status, self.bars, self.numbers, self.faces, self.links = (
            ipywidgets.HTML() for _ in range(5)
        )
        self.world.observe(self._turn_world, "value")
        self.start.on_click(self.generate)
        self.stop.on_click(self.cancel)
        self.save.on_click(self._export)
        self._knobs = ipywidgets.VBox(
            [
                self.world,
                self.method,
                ipywidgets.HTML("<b>Make these shares hold, of:</b>"),
                self.attributes,
                self.targets,
                self.n,
                self.seed,
                ipywidgets.HBox([self.start, self.stop]),
                self.progress,
                self.status,
            ],
            layout={"width": "330px"},
        )
        self._results = ipywidgets.VBox(
            [self.faces, self.bars, self.numbers, ipywidgets.HBox([self.save, self.links])],
            layout={"flex": "1 1 480px", "min_width": "320px", "max_width": "800px"},
        )
        self._say("Ready. Guess first: which group will be rarest among plain faces?")

    def _turn_world(self, _=None):
        """Attributes and sliders of the world that was chosen."""
        world = self.studio.world(self.world.value)
        own = world.cell_attributes[:2]  # all three at once would mean a longer pilot
        self.attributes.children = [
            ipywidgets.Checkbox(
                value=name in own, description=name, indent=False, layout={"width": "auto"}
            )
            for name in world.cell_attributes
        ]
        for box in self.attributes.children:
            box.observe(self._turn_attributes, "value")
        self.sliders = {
            name: [
                ipywidgets.IntSlider(
                    value=50,
                    min=0,
                    max=100,
                    description=group,
                    readout=False,
                    tooltip=f"share of {group} among the {name} groups",
                    style={"description_width": "70px"},
                    layout={"width": "250px"},
                )
                for group in world.attributes[name]
            ]
            for name in world.cell_attributes
        }
        self._shares = {
            name: [ipywidgets.HTML() for _ in sliders] for name, sliders in self.sliders.items()
        }
        for sliders in self.sliders.values():
            for slider in sliders:
                slider.observe(self._turn_sliders, "value")
        self._turn_sliders()
        self._turn_attributes()

    def _turn_attributes(self, _=None):
        self.targets.children = [
            ipywidgets.HBox([slider, share])
            for name in self._ticked()
            for slider, share in zip(self.sliders[name], self._shares[name], strict=True)
        ]

    def _turn_sliders(self, _=None):
        for name, sliders in self.sliders.items():
            total = sum(slider.value for slider in sliders)
            for slider, share in zip(sliders, self._shares[name], strict=True):
                share.value = f"{100 * slider.value / total:.0f} %" if total else "?"

    def _ticked(self):
        return [box.description for box in self.attributes.children if box.value]

    def _wanted(self, name):
        """Shares of an attribute's groups as its sliders stand."""
        values = np.array([slider.value for slider in self.sliders[name]], float)
        if not values.sum():
            raise ValueError(f"All shares of {name} are zero; give one of them some.")
        return values / values.sum()

    def _busy(self, busy):
        self.start.disabled, self.stop.disabled = busy, not busy
        for knob in (self.world, self.save):
            knob.disabled = busy

    def _say(self, text):
        self.status.value = f'<span role="status">{html.escape(text)}</span>'


def main(arguments=None):
    """Make the faces of exported settings again, and write the same archive's files."""
    parser = argparse.ArgumentParser(
        prog="python -m fairgen_utils.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("settings", type=Path, help="settings.json of an export")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    options = parser.parse_args(arguments)
    studio = Studio()
    try:
        settings = Settings.read(options.settings)
        studio.check(settings)
        options.out.mkdir(parents=True)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    bar = None
    for job, done, wanted, made in studio.batches(settings):
        if bar is None or bar.desc != job:
            bar = tqdm(total=wanted, desc=job, unit="face")
        bar.update(done - bar.n)
        sample = made
    archive = export(studio.world(settings.world), settings, sample)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(options.out)
    print(f"{len(sample)} faces: {options.out / 'faces'}")


if __name__ == "__main__":
    main()

"""Page: the dashboard's widgets, and what happens when somebody touches them."""

import functools
import html
import threading
import time

import ipywidgets
from IPython.display import HTML, display

from fairgen_utils._files import as_png
from fairgen_utils.apps.dashboard import look
from fairgen_utils.apps.dashboard.controls import Controls
from fairgen_utils.apps.dashboard.export import archive_of, pair_sheet
from fairgen_utils.apps.dashboard.settings import METHODS
from fairgen_utils.apps.dashboard.studio import Studio

GUESS = (
    "<p>Guess first: which group will be rarest among plain faces? Then press Generate. Plain "
    "faces come above; below them, faces in the shares you want.</p>"
)


def told(callback):
    """A widget swallows what its callbacks raise: say it on the page instead."""

    @functools.wraps(callback)
    def guarded(self, change=None):
        try:
            return callback(self)
        except Exception as error:
            self.say(f"This failed. {type(error).__name__}: {error}")

    return guarded


class Dashboard(ipywidgets.HBox):
    """Knobs on the left, faces and numbers on the right.

    Parameters
    ----------
    world : str
        The world to begin with.
    root : path, optional
        The folder that holds the worlds, as in `load_world`.

    Attributes
    ----------
    run : Run or None
        The faces on show.
    thread : Thread or None
        Makes faces in the background; ends when they are there.
    """

    def __init__(self, world="heads", root=None):
        self.studio, self.thread, self.run = Studio(root), None, None
        self.first, self._asked, self._told, self._stop = 0, None, None, threading.Event()
        self.controls = Controls(world, self.studio.root)
        self._build()
        super().__init__(
            [self.controls.box, self._results],
            layout={"width": "100%", "flex_flow": "row wrap", "align_items": "flex-start"},
        )
        self.add_class("fairgen")
        self.turn_world()

    def _ipython_display_(self):
        display(HTML(look.STYLE + look.NAMES))
        display(super()._repr_mimebundle_(), raw=True)

    def __repr__(self):
        return "(run this cell to see the dashboard)"

    @told
    def generate(self):
        """Start making faces, in the background."""
        try:
            settings = self.controls.settings()
            self.studio.check(settings)
        except ValueError as error:
            self.say(f"Not started. {error}")
            return
        self._start(self._make, settings)

    @told
    def cancel(self):
        """Stop after the batch at work; what has been made stays."""
        self._stop.set()
        self.say("Stopping after this batch ...")

    @told
    def turn_world(self):
        """Another world: its groups to choose from, and nothing on show that isn't its."""
        name = self.controls.world.value
        self.clear()
        self.say(f"Loading the world {name} ...")
        self.controls.offer(self.studio.world(name))
        self.say(f"Ready: {name}.")

    @told
    def page_on(self):
        """The next pairs of the run."""
        if self.run is not None:
            self.first = (self.first + look.SHOWN) % len(self.run)
            self._show_pairs()

    def ask(self, place):
        """One of the faces on show, in every group: now, or after the batch at work.

        The one that is shown so already is shown so no more.
        """
        if self.run is None or self.first + place >= len(self.run):
            return
        if self._told == self.first + place:  # pressed again: away with it
            self.one.value, self._told = "", None
            return
        self._asked = self.run, self.first + place
        if not self.busy:
            self._start(self._answer)

    def clear(self):
        """Nothing is on show, and nothing to export."""
        self.run, self._asked, self._told, self.first = None, None, None, 0
        for part in (self.numbers, self.bars, self.table, self.one, self.links, self.style):
            part.value = ""
        self.heading.value, self.save.disabled = GUESS, True
        self.pairs.layout.display = self.more.layout.display = "none"

    @property
    def busy(self):
        """Whether something is made in the background."""
        return self.thread is not None and self.thread.is_alive()

    def say(self, text, done=None, wanted=1):
        """What is happening now, and how far it is."""
        bar = ""
        if done is not None:
            bar = f' <progress aria-label="progress" max="{wanted}" value="{done}"></progress>'
        self.status.value = f'<span role="status">{html.escape(text)}</span>{bar}'

    # what happens in the background

    def _start(self, job, *arguments):
        if self.busy:
            return
        self._stop.clear()
        self._lock(True)
        self.thread = threading.Thread(target=self._work, args=(job, *arguments), daemon=True)
        self.thread.start()

    def _work(self, job, *arguments):
        try:
            job(*arguments)
        except Exception as error:  # a thread's traceback would be seen by nobody
            self.say(f"This failed. {type(error).__name__}: {error}")
        finally:
            self._lock(False)

    def _make(self, settings):
        started, made, said = time.perf_counter(), 0, "Done"
        self.say("Starting ...", 0)
        for step in self.studio.batches(settings):
            seconds = time.perf_counter() - started
            if step.run is not None:
                made = len(step.run)
                self._show(step.run)
            if self._stop.is_set() and made < settings.n:
                said = "Stopped early"
                break
            self.say(f"{_job(step, settings)} {seconds:.0f} s so far.", step.done, step.wanted)
            self._answer()
        seconds = time.perf_counter() - started
        self.say(f"{said}: {made} faces by each method, {seconds:.0f} s in all.")

    def _answer(self):
        """The face that somebody pressed."""
        if self._asked is None:
            return
        (run, index), self._asked = self._asked, None
        before = self.status.value
        self.say(f"Guiding face {index} of seed {run.settings.seed} to every group ...")
        self.one.value = look.every_group(run, index, self.studio.same_face(run, index))
        self.status.value, self._told = before, index

    def _show(self, run):
        """A run's faces and numbers; of its faces, the newest batch's first ones."""
        before = self.run
        known = 0 if before is None or before.origin != run.origin else len(before)
        if not known:  # a face of other faces is on show no more
            self.one.value, self._asked, self._told = "", None, None
        self.run, self.first = run, max(0, min(known, len(run) - look.SHOWN))
        self.heading.value = look.heading(run)
        self._show_pairs()
        self.numbers.value, self.bars.value = look.large_numbers(run), look.bars(run)
        self.table.value, self.links.value = look.table(run), ""

    def _show_pairs(self):
        self.style.value = look.pair_style(self.run, self.first)
        for place, button in enumerate(self.pairs.children):
            there = self.first + place < len(self.run)
            button.layout.visibility = "visible" if there else "hidden"
            if there:
                button.tooltip = look.pair_words(self.run, self.first + place)
        self.pairs.layout.display = ""
        self.more.layout.display = "" if len(self.run) > look.SHOWN else "none"

    def _lock(self, busy):
        self.controls.lock(busy)
        self.start.disabled, self.stop.disabled = busy, not busy
        self.save.disabled = busy or self.run is None

    # the widgets

    @told
    def _export(self):
        run, stem = self.run, self.run.settings.stem
        sheet = look.data(as_png(pair_sheet(run)))
        archive = look.data(archive_of(run), "application/zip")
        self.links.value = (
            f'<a download="{stem}.png" href="{sheet}">sheet of pairs (PNG)</a><br>'
            f'<a download="{stem}.zip" href="{archive}">everything (zip)</a>: faces, labels, '
            "settings"
        )

    def _build(self):
        self.status, self.heading, self.style, self.one = (ipywidgets.HTML() for _ in range(4))
        self.numbers, self.bars, self.table, self.links = (ipywidgets.HTML() for _ in range(4))
        self.pairs = ipywidgets.HBox(
            [
                ipywidgets.Button().add_class("pair").add_class(f"pair-{place}")
                for place in range(look.SHOWN)
            ]
        ).add_class("pairs")
        for place, button in enumerate(self.pairs.children):
            button.on_click(lambda _, place=place: self.ask(place))
        self.start = _button("Generate", "make the faces", button_style="primary")
        self.stop = _button("Cancel", "stop after this batch", disabled=True)
        self.save = _button("Export", "faces, labels and settings as files", disabled=True)
        self.more = _button("Other faces", "the next pairs")
        self.start.on_click(self.generate)
        self.stop.on_click(self.cancel)
        self.save.on_click(self._export)
        self.more.on_click(self.page_on)
        self.controls.world.observe(self.turn_world, "value")
        buttons = [
            ipywidgets.HBox([self.start, self.stop]),
            ipywidgets.HBox([self.save, self.more]),
            self.links,
        ]
        self.controls.box.children = [*self.controls.box.children, *buttons]
        room = {"width": "330px", "padding": "0 10px 0 0"}  # words keep clear of the faces
        self.controls.box.layout = {**room, "overflow": "visible"}
        self._results = ipywidgets.VBox(
            [
                *(self.status, self.heading, self.style, self.pairs, self.one),
                ipywidgets.HBox([self.numbers, self.bars], layout={"align_items": "flex-start"}),
                self.table,
            ],
            layout={"flex": "1 1 640px", "min_width": "320px", "overflow": "visible"},
        )
        self.numbers.layout = {"flex": "0 0 310px"}
        self.bars.layout = {"flex": "1 1 320px"}


def _button(words, tooltip, **more):
    return ipywidgets.Button(
        description=words, tooltip=tooltip, layout={"width": "150px"}, **more
    )


def _job(step, settings):
    """What is being made now, in words."""
    if step.job == "mixture":
        return f"Fitting the mixture of {settings.joint}, once ..."
    if step.job == "pilot":
        return f"Pilot, which finds the weights, once: {step.done} of {step.wanted} faces."
    return f"{step.done} of {step.wanted} faces, plain and {METHODS[settings.method]}."

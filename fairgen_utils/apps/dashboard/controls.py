"""Controls: the knobs on the left of the dashboard, and the settings they stand for."""

from pathlib import Path

import ipywidgets
import numpy as np

from fairgen_utils.apps.dashboard.settings import METHODS, MOST, Settings

DATA = Path(__file__).resolve().parents[3] / "data"
WIDE = {"style": {"description_width": "66px"}, "layout": {"width": "310px"}}


class Controls:
    """World, method, numbers; folded away, which groups in which shares.

    Parameters
    ----------
    world : str
        The world to begin with.
    root : path, optional
        The folder that holds the worlds.

    Attributes
    ----------
    box : ipywidgets.VBox
    """

    def __init__(self, world, root=None):
        worlds = sorted(path.parent.name for path in Path(root or DATA).glob("*/world.json"))
        self.world = ipywidgets.Dropdown(
            options=worlds, value=world, description="world", tooltip="whose faces", **WIDE
        )
        self.method = ipywidgets.Dropdown(
            options=[(words, name) for name, words in METHODS.items()],
            description="method",
            tooltip="how the lower faces are drawn; see notebook 6",
            **WIDE,
        )
        self.n = ipywidgets.IntSlider(
            value=200,
            min=50,
            max=MOST,
            step=50,
            description="faces",
            tooltip="more faces: narrower intervals, a lower noise floor",
            **WIDE,
        )
        self.seed = ipywidgets.BoundedIntText(
            value=0,
            min=0,
            max=2**31 - 1,
            description="seed",
            tooltip="same seed, same faces",
            **WIDE,
        )
        self.fold = ipywidgets.ToggleButton(tooltip="which groups, in which shares", **WIDE)
        self.fold.add_class("fold")
        self.attributes, self.targets, self.sliders = ipywidgets.VBox(), ipywidgets.VBox(), {}
        self.choice = ipywidgets.VBox([self.attributes, self.targets])
        self.fold.observe(self._turn_fold, "value")
        parts = [self.world, self.method, self.n, self.seed, self.fold, self.choice]
        self.box = ipywidgets.VBox(parts)

    def offer(self, world):
        """The groups of a world, even ones to begin with."""
        own = world.cell_attributes[:2]  # 18 cells at once make bars nobody can read
        self.sliders = {
            name: [_slider(name, group) for group in world.attributes[name]]
            for name in world.cell_attributes
        }
        self.shares = {
            name: [ipywidgets.HTML().add_class("share") for _ in sliders]
            for name, sliders in self.sliders.items()
        }
        self.attributes.children = [
            ipywidgets.Checkbox(
                value=name in own, description=name, indent=False, layout={"width": "auto"}
            )
            for name in world.cell_attributes
        ]
        for box in self.attributes.children:
            box.observe(self._turn_attributes, "value")
        for slider in sum(self.sliders.values(), []):
            slider.observe(self._turn_sliders, "value")
        self._turn_sliders()
        self._turn_attributes()

    def settings(self):
        """The settings that the knobs show now.

        Raises
        ------
        ValueError
            If no attribute is ticked, or all shares of one are zero.
        """
        names = self._ticked()
        if not names:
            raise ValueError("Tick at least one attribute under 'shares'.")
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

    def lock(self, busy):
        """No other world while faces of this one are made."""
        self.world.disabled = busy

    def _ticked(self):
        return [box.description for box in self.attributes.children if box.value]

    def _wanted(self, name):
        """Shares of an attribute's groups as its sliders stand."""
        values = np.array([slider.value for slider in self.sliders[name]], float)
        if not values.sum():
            raise ValueError(f"All shares of {name} are zero; give one of them some.")
        return values / values.sum()

    def _turn_fold(self, change=None):
        ticked = self._ticked()
        even = all(len({s.value for s in self.sliders[name]}) == 1 for name in ticked)
        shares = f"{', '.join(ticked) or 'nothing'}{', even' if even and ticked else ''}"
        self.choice.layout.display = "" if self.fold.value else "none"
        self.fold.description = f"{'▾' if self.fold.value else '▸'} shares: {shares}"

    def _turn_attributes(self, change=None):
        self.targets.children = [
            ipywidgets.HBox([slider, share])
            for name in self._ticked()
            for slider, share in zip(self.sliders[name], self.shares[name], strict=True)
        ]
        self._turn_fold()

    def _turn_sliders(self, change=None):
        for name, sliders in self.sliders.items():
            total = sum(slider.value for slider in sliders)
            for slider, share in zip(sliders, self.shares[name], strict=True):
                share.value = f"{100 * slider.value / total:.0f} %" if total else "?"
        self._turn_fold()


def _slider(name, group):
    return ipywidgets.IntSlider(
        value=50,
        min=0,
        max=100,
        description=group,
        readout=False,
        tooltip=f"share of {group} among the {name} groups",
        style={"description_width": "95px"},
        layout={"width": "245px"},
    )

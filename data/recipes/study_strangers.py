"""Audit a generator nobody here made, a StyleGAN of 1024-pixel faces. Writes strangers.csv.

Faces at three truncations and, at one of them, evened out in two ways: drawn from one Gaussian per
group in W, weights fitted on a pilot, and moved from group to group in closed form. Four judges
read them: the utkface world's two networks, discriminants of a face embedding, and a public network
of gender and age. Everything made is kept in --work, a hundred faces a file: started again after a
kill, the study goes on where it was.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from other_judges import embedding_world, public_world
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from tqdm.auto import tqdm

from fairgen_utils import show
from fairgen_utils._files import whole_file, write_arrays, write_whole
from fairgen_utils.datasets import read_utkface
from fairgen_utils.judge import audit_fairness, audit_quality
from fairgen_utils.load import load_world
from fairgen_utils.localize import component_table, solve_weights
from fairgen_utils.measure import noise_floor, share_intervals
from fairgen_utils.models.embedding import FaceEmbedding, same_person
from fairgen_utils.models.mixture import LatentMixture
from fairgen_utils.models.one_step import nearest_groups, transport, truncate_within
from fairgen_utils.models.style_gan import FRAME, StyleGAN, as_utkface

RESULTS = Path(__file__).parents[1] / "results"
TARGET = "gender,race"
SHARD = 100
EVENED_AT = 0.7
SHOWN = (1.0, 0.7, 0.5)
STRENGTHS = (1.0, 2.0, 3.0)
EXTRAPOLATED = (0.0, 1.0)  # how far the pilot moves the groups' means beyond where they are
PILOT = 40  # faces a group and pilot
BATCH = 500  # faces that share quotas when they are moved
MOST = 1000  # faces that are drawn anew at most


class Faces:
    """Makes faces and keeps them, a file for every hundred."""

    def __init__(self, work, generator):
        self.work, self.generator = Path(work), generator
        self.work.mkdir(parents=True, exist_ok=True)

    def __call__(self, kind, styles):
        """Faces of styles, shape (n, 256, 256, 3), from disk where they were made before."""
        parts = []
        for start in tqdm(range(0, len(styles), SHARD), kind, unit=f"{SHARD} faces"):
            path, wanted = self.work / f"{kind}_{start:04d}.npz", styles[start : start + SHARD]
            if not path.exists():
                made = self.generator.decode(wanted, progress=False)
                write_arrays(path, faces=made, styles=wanted)
            with np.load(path) as stored:
                same = stored["styles"].shape == wanted.shape
                if not same or abs(stored["styles"] - wanted).max() > 1e-3:
                    raise ValueError(f"work: {path} holds other faces; give an empty folder")
                parts.append(stored["faces"])
        return np.concatenate(parts)


class Rows:
    """The rows of the results file."""

    def __init__(self):
        self.rows = []

    def add(self, faces, psi, strength, judge, attribute, group, n, measure, *numbers):
        """One row; the numbers are a value and, where there is one, its 95 % interval."""
        row = {"faces": faces, "psi": psi, "strength": strength, "judge": judge}
        row |= {"attribute": attribute, "group": group, "n": n, "measure": measure}
        self.rows.append(row | dict(zip(("value", "low", "high"), numbers, strict=False)))

    def save(self, path):
        """Numbers to four digits."""
        table = pd.DataFrame(self.rows).round({"value": 4, "low": 4, "high": 4})
        write_whole(path, table.to_csv(index=False, lineterminator="\n"))


def judged(rows, judges, images, faces, psi="", strength="", wanted=None, quotas=False):
    """What every judge says of faces: shares, discrepancies, and who landed where they should.

    `wanted` is the cell of each face; with `quotas`, chance had no say in how many each cell got.
    """
    found = {}
    for name, world in judges.items():
        predictions = found[name] = world.classify(images)
        add = partial(rows.add, faces, psi, strength, name)
        for attribute in world.attributes:
            add_shares(add, world, predictions, attribute)
        if not all(part in world.attributes for part in TARGET.split(",")):
            continue
        if name == "embedding":
            add("", "", len(images), "frechet", audit_quality(world, predictions)["ffd"])
        add_shares(add, world, predictions, TARGET)
        n, cells = len(images), wanted if quotas else None
        audit = audit_fairness(world, predictions, TARGET, cells=cells)
        add(TARGET, "", n, "fd", *(audit[f"fd{end}"] for end in ("", "_low", "_high")))
        ends = ("", "_low", "_high")
        add(TARGET, "", n, "fd corrected", *(audit[f"fd_corrected{end}"] for end in ends))
        k = len(world.groups(TARGET))
        floor = noise_floor(n, np.full(k, 1 / k), k, quantile=0.95, seed=0)
        add(TARGET, "", n, "floor", floor)
        add(TARGET, "", n, "floor corrected", audit["fd_floor95"])
        if wanted is not None:
            hits = (world.joint(predictions.labels, TARGET) == wanted).astype(int)
            add(TARGET, "", n, "in the wanted group", hits.mean(), *share_intervals(hits, 2)[1])
    return found


def add_shares(add, world, predictions, attribute):
    """Shares of one attribute, or of several jointly."""
    groups, labels = world.groups(attribute), world.joint(predictions.labels, attribute)
    for g, interval in enumerate(share_intervals(labels, len(groups))):
        add(attribute, groups[g], len(labels), "share", np.mean(labels == g), *interval)


def add_errors(rows, judges):
    """How often each judge recognises held-out photographs of each group."""
    for name, world in judges.items():
        for attribute in [*world.attributes, TARGET]:
            if not all(part in world.attributes for part in attribute.split(",")):
                continue
            true, _ = world.heldout(attribute)
            recalls = np.diag(world.confusion(attribute))
            for g, group in enumerate(world.groups(attribute)):
                n = int((true == g).sum())
                rows.add("photographs", "", "", name, attribute, group, n, "recall", recalls[g])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gan", required=True, help="folder of the unzipped wheel")
    parser.add_argument("--photographs", required=True, help="archive or folder of UTKFace")
    parser.add_argument("--work", required=True, help="folder to keep faces in, outside of git")
    parser.add_argument("--n", type=int, default=1000, help="faces at each truncation")
    parser.add_argument("--evened", type=int, default=1000, help="faces of each way to even out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "strangers.csv")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = StyleGAN(options.gan, psi=1.0, threads=options.threads)
    faces = Faces(options.work, generator)
    first = load_world("utkface")
    n, evened, seed = options.n, min(options.evened, options.n), options.seed

    # nobody is steered at psi = 1, so the pool that groups are localized in is measured itself
    pool = generator.draw(n, seed + 1)
    plain = {1.0: faces("pool_1.0", pool)}
    labels = first.classify(as_utkface(plain[1.0])).labels
    cells = first.joint(labels, TARGET)
    styles = generator.draw(n, seed)
    for psi in (EVENED_AT, 0.5):
        plain[psi] = faces(f"plain_{psi}", generator.truncate(styles, psi))
    pilots, drawn = sampled(first, faces, pool, cells, evened, seed)
    before = plain[EVENED_AT][:evened]
    moved, wanted = moved_faces(first, faces, generator, styles[:evened], before, pool, cells)

    # here, since it draws the samplers of diffusion models in, which nothing else needs
    from measure_embedding import FIT, even_over_cells, taken

    training, heldout = (read_utkface(options.photographs, split) for split in ("train", "heldout"))
    cells = first.joint(training.labels, ",".join(first.cell_attributes))
    training = taken(training, even_over_cells(cells, FIT, seed))
    cache = Path(options.work, "embeddings")
    judges = {
        "first network": first,
        "second network": first.second_judge(),
        "embedding": embedding_world(first, training, heldout, FaceEmbedding("utkface", cache)),
        "public network": public_world(first, heldout),
    }
    rows = Rows()
    add_errors(rows, judges)
    for psi, images in plain.items():
        judged(rows, judges, as_utkface(images), "plain", psi)
    for kind, made in (("pilot", pilots), ("sampled", drawn)):
        for factor, (images, groups) in made.items():
            asked = {name: judges[name] for name in judges if kind == "sampled" or "net" in name}
            judged(rows, asked, as_utkface(images), kind, EVENED_AT, factor, groups)
    for strength, images in moved.items():
        asked = as_utkface(images)
        found = judged(rows, judges, asked, "moved", EVENED_AT, strength, wanted, quotas=True)
        went = (images != before).any((1, 2, 3))
        for name, predictions in found.items():
            if "race" in judges[name].attributes:
                hits = (judges[name].joint(predictions.labels, TARGET) == wanted)[went].astype(int)
                add = partial(rows.add, "moved", EVENED_AT, strength, name, TARGET, "", len(hits))
                add("moved to the wanted group", hits.mean(), *share_intervals(hits, 2)[1])
    add_people(rows, before, moved, cache)
    rows.save(options.out)
    first_draws = [faces(f"plain_{psi}", generator.truncate(styles[:SHARD], psi)) for psi in SHOWN]
    mean = generator.decode(generator.mean[None], progress=False)[0]
    Image.fromarray(mean).save(options.out.with_name("strangers_mean.jpg"), quality=88)
    pictures(options.out.parent, first, first_draws, before, moved, wanted)


def sampled(world, faces, pool, cells, n, seed):
    """Faces from one Gaussian per group, each truncated toward its own mean.

    Means are moved outward as far as brings recognition nearest to that of real faces, in a pilot
    which also gives the weights.
    """
    even = np.full(len(world.groups(TARGET)), 1 / len(world.groups(TARGET)))
    real = np.diag(world.confusion(TARGET)).mean()
    pilots, counted = {}, {}
    for factor in EXTRAPOLATED:
        mixture = LatentMixture().fit(pool, cells).extrapolate_means(factor)
        mixture = truncate_within(mixture, EVENED_AT)
        k = len(mixture.weights_)
        styles, components = mixture.sample(k * PILOT, seed + 2, np.full(k, 1 / k))
        pilots[factor] = faces(f"pilot_{factor}", styles), mixture.cells_[components]
        labels = world.joint(world.classify(as_utkface(pilots[factor][0])).labels, TARGET)
        counted[factor] = mixture, component_table(components, labels, k, len(even))
    rates = {factor: np.trace(table) / table.sum() for factor, (_, table) in counted.items()}
    factor = min(rates, key=lambda tried: abs(rates[tried] - real))
    mixture, table = counted[factor]
    weights = solve_weights(table, even, world.confusion(TARGET))
    styles, components = mixture.sample(MOST, seed + 3, weights)  # fewer are the first of these
    made = faces(f"sampled_{factor}", styles[:n])
    return pilots, {factor: (made, mixture.cells_[components[:n]])}


def moved_faces(world, faces, generator, styles, plain, pool, cells):
    """The plain faces, each moved to the group that quotas want it in; who may stay, stays."""
    posterior = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(pool, cells)
    k = len(world.groups(TARGET))
    present = world.joint(world.classify(as_utkface(plain)).labels, TARGET)
    probabilities = posterior.predict_proba(styles)
    found = {strength: plain.copy() for strength in STRENGTHS}
    ends = present.copy()
    for start in range(0, len(styles), BATCH):
        batch = slice(start, start + BATCH)
        wanted = nearest_groups(np.log(probabilities[batch]), present[batch], np.full(k, 1 / k))
        places = start + np.flatnonzero(wanted != -1)
        ends[places] = wanted[wanted != -1]
        for strength in STRENGTHS:
            moved = transport(
                styles[places], probabilities[places], ends[places], posterior.means_, strength
            )
            moved = generator.truncate(moved, EVENED_AT)
            found[strength][places] = faces(f"moved_{strength}_{start}", moved)
    return found, ends


def add_people(rows, plain, moved, cache):
    """How many of the moved are still one person, and how many strangers would pass for one."""
    left, top, side = FRAME
    embed = FaceEmbedding((side, left + side / 2, top + side / 2), cache)
    before = embed(plain)
    strangers = same_person(before, np.roll(before, 1, axis=0)).astype(int)
    add = partial(rows.add, "plain", EVENED_AT, "", "embedding", "", "", len(plain))
    add("strangers taken for one", strangers.mean(), *share_intervals(strangers, 2)[1])
    for strength, images in moved.items():
        changed = (images != plain).any((1, 2, 3))
        alike = same_person(before[changed], embed(images)[changed]).astype(int)
        add = partial(rows.add, "moved", EVENED_AT, strength, "embedding", "", "")
        add(len(plain), "changed", changed.mean(), *share_intervals(changed.astype(int), 2)[1])
        add(len(alike), "one person", alike.mean(), *share_intervals(alike, 2)[1])


def pictures(folder, world, first_draws, before, moved, wanted):
    """Two figures: the first draws at every truncation, and the first to move to each group."""
    rows = {f"truncation {psi}": images[:6] for psi, images in zip(SHOWN, first_draws, strict=True)}
    write_picture(folder / "strangers_truncation.jpg", show.face_rows(rows))
    changed = (moved[STRENGTHS[0]] != before).any((1, 2, 3))
    groups = np.unique(wanted[changed])
    first = [np.flatnonzero(changed & (wanted == group))[0] for group in groups]
    rows = {"as drawn": before[first]}
    # at the last strength some fall apart: counted, and not put on a wall
    for strength in STRENGTHS[:-1]:
        rows[f"moved, strength {strength:g}"] = moved[strength][first]
    captions = ["to " + world.groups(TARGET)[group].replace(" ", "\n") for group in groups]
    write_picture(folder / "strangers_pairs.jpg", show.face_rows(rows, captions))


def write_picture(path, figure):
    """A JPEG: faces like photographs need more colours than a palette has."""
    FigureCanvasAgg(figure).draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    with whole_file(path) as temporary:
        Image.fromarray(pixels).save(temporary, "JPEG", quality=88, optimize=True)


if __name__ == "__main__":
    main()

"""Ask a face embedding that never saw our labels: even? good? still the same person?

    python data/recipes/measure_embedding.py --worlds utkface --utkface UTKFace.zip

Needs the extra `judges`. Writes, in data/results/: embedding.csv (every method's discrepancy by
linear discriminants of the embedding, and how often those are right about real faces),
embedding_groups.csv (Frechet distance of every group to held-out real faces of that group) and
embedding_pairs.csv (how far apart two faces are: the plain and the guided one of one seed, two of
different seeds, two real ones). The faces come from make_faces.py, which makes those that are
missing; embeddings are kept in --cache. Every method and seed is written as soon as it is
measured; a killed run picks up where it stopped. Delete rows to measure them again.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from make_faces import FaceMaker, applicable
from measure_worlds import by_quotas
from other_judges import embedding_world
from scipy.spatial.distance import cdist
from sources import PHOTOGRAPHIC, WORLDS, add_sources, heldout_of, source_of
from tables import Table

from fairgen_utils.datasets import Faces, read_faces
from fairgen_utils.judge import audit_fairness, audit_groups, audit_quality
from fairgen_utils.load import load_world
from fairgen_utils.measure import share_intervals
from fairgen_utils.models.diffusion import decode, encode
from fairgen_utils.models.embedding import SAME_PERSON, FaceEmbedding, distances, same_person
from fairgen_utils.models.world import Predictions

FIT = 4000  # labelled faces to fit the discriminants on, as even over the cells as there are
REAL = 6000  # real faces, at most, that are measured like a method's
GROUP_FACES = 150  # of each group, for the distance to its own reference
# drawn from the very noise of plain sampling's faces of the same seed
PAIRED = (
    *("guided", "guided_pilot", "guided_goals", "guided_goals_pilot"),
    *("guidance", "bottleneck"),
)
RECONSTRUCTED = 300  # real faces that are sent through the autoencoder
PEOPLE = {"test": 928, "valid": 907}  # in the CelebA subset, five photographs of each


def even_over_cells(cells, n, seed):
    """Positions of `n` faces, the same number of every cell as far as there are as many."""
    order = np.random.default_rng(seed).permutation(len(cells))
    rank = np.zeros(len(cells), np.int64)  # the how-manieth of its cell, in that order
    for cell in np.unique(cells):
        mine = order[cells[order] == cell]
        rank[mine] = np.arange(len(mine))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:n])


def taken(faces, places):
    """The faces at some places."""
    labels = {name: values[places] for name, values in faces.labels.items()}
    return Faces(faces.images[places], labels, faces.attributes)


def attributed(world, jointly):
    """Single attributes, and some jointly, as tables name them."""
    return list(dict.fromkeys([*world.cell_attributes, world.text(jointly)]))


def fairness_rows(judged, predictions, method, seed, cells=None):
    """Discrepancies by the embedding's discriminants, and distance to the balanced reference."""
    which = {"world": judged.name, "method": method, "seed": seed}
    quality = {"ffd": audit_quality(judged, predictions)["ffd"]}  # kid drowns in a table's digits
    rows = []
    for name in attributed(judged, judged.target):
        found = audit_fairness(judged, predictions, name, cells=cells)
        rows.append({**which, "attribute": name, **found, **quality})
    return rows


def real_rows(judged):
    """How often the discriminants are right about the held-out faces."""
    rows = []
    for name in attributed(judged, judged.target):
        true, predicted = judged.heldout(name)
        row = {"world": judged.name, "method": "real", "attribute": name, "seed": 0}
        rows.append({**row, "n": len(true), "accuracy": float(np.mean(true == predicted))})
    return rows


def group_rows(judged, predictions, method, n):
    """Distance of each group to held-out faces of that group, all at the same number of faces."""
    return [
        {
            **{"world": judged.name, "method": method, "attribute": name, "group": group},
            **{"n": n, "ffd": ffd},
        }
        # all cells of heads would be too few faces each
        for name in attributed(judged, judged.cell_attributes[:2])
        for group, ffd in audit_groups(judged, predictions, name, n).groups.items()
    ]


def pair_row(a, b, nearest=None, **which):
    """How far apart partners are, and how many are one person by dlib's own threshold."""
    apart, one = distances(a, b), same_person(a, b)
    error = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
    low, high = share_intervals(one.astype(int), 2)[1]
    return {
        **which,
        **{"n": len(apart), "distance": apart.mean()},
        **{"distance_low": apart.mean() - error, "distance_high": apart.mean() + error},
        **{"same": one.mean(), "same_low": low, "same_high": high},
        "nearest": np.nan if nearest is None else nearest,
    }


def strangers_of_the_same_group(cells):
    """For every face another one of its cell, -1 where it is the only one."""
    partner = np.full(len(cells), -1)
    for cell in np.unique(cells):
        mine = np.flatnonzero(cells == cell)
        if len(mine) > 1:
            partner[mine] = np.roll(mine, 1)
    return partner


def pair_rows(judged, plain, found, method, seed):
    """Is the face of a method the plain one of the same seed? Beside it: two different seeds.

    The network was trained on celebrities and tells few groups apart well, so strangers count
    by group, too: each face of the method beside a plain one that looks like its own plain one's
    group. `nearest`: how often, of all plain faces, that of the same seed is the closest.
    """
    a, b = plain.features, found.features
    cells, after = (judged.joint(p.labels, judged.target) for p in (plain, found))
    which = {"world": judged.name, "method": method, "seed": seed}
    nearest = cdist(b, a).argmin(1) == np.arange(len(a))
    rows = [pair_row(a, b, nearest.mean(), pair="same seed", **which)]
    changed = cells != after
    if changed.sum() > 1:
        rows.append(
            pair_row(
                *(a[changed], b[changed], nearest[changed].mean()),
                pair="same seed, group changed",
                **which,
            )
        )
    rows.append(pair_row(np.roll(a, 1, axis=0), b, pair="other seed", **which))
    partner = strangers_of_the_same_group(cells)
    there = partner >= 0
    rows.append(pair_row(a[partner[there]], b[there], pair="other seed, same group", **which))
    return rows


def real_pair_rows(judged, embedding, heldout):
    """The same distances where the answer is known: real faces that are and are not one person."""
    which = {"world": judged.name, "method": "real", "seed": 0}
    images, features = heldout.images, embedding(heldout.images)
    cells = judged.joint(heldout.labels, judged.target)
    partner = strangers_of_the_same_group(cells)
    there = partner >= 0
    by_group = [
        pair_row(features[mine], features[partner[mine]], pair=f"strangers, {group}", **which)
        for g, group in enumerate(judged.groups(judged.target))
        if (mine := there & (cells == g)).any()
    ]
    some = np.random.default_rng(0).permutation(len(images))[:RECONSTRUCTED]
    again = decode(judged.pipeline, encode(judged.pipeline, images[some]))
    return [
        pair_row(features, np.roll(features, 1, axis=0), pair="strangers", **which),
        pair_row(features[there], features[partner[there]], pair="strangers, same group", **which),
        *by_group,
        pair_row(features, embedding(images[:, :, ::-1]), pair="mirrored", **which),
        pair_row(features[some], embedding(again), pair="through the autoencoder", **which),
    ]


def one_person_shares(parts, pairs, thresholds):
    """Which share of pairs of photographs of one person lies below thresholds, without names.

    Nobody says who is who, but the two parts share no person, and how many pairs within a part
    are one person is known. So the pairs *across* the parts are strangers, all of them; what
    falls below a threshold *within* the parts beyond those is pairs of one person. The excess is
    averaged over both parts: where one holds more of a group than the other, strangers within it
    are closer than those across, and about as much farther in the other.

    Parameters
    ----------
    parts : two ndarray, shapes (n, 128) and (m, 128)
    pairs : two int
        Pairs of one person within each.
    thresholds : sequence of float

    Returns
    -------
    one, strangers : ndarray, shape (n_thresholds,)
        Shares of pairs below each threshold. `one` is an estimate: noise may take it past 1.
    """
    edges = np.asarray(thresholds, float)

    def below(a, b=None):
        counts, total = np.zeros(len(edges)), 0
        for i, row in enumerate(a):
            apart = cdist(row[None], a[i + 1 :] if b is None else b)[0]
            counts += np.searchsorted(np.sort(apart), edges)
            total += len(apart)
        return counts / total, total

    strangers, _ = below(*parts)
    one = np.zeros(len(edges))
    for part, known in zip(parts, pairs, strict=True):
        within, total = below(part)
        share = known / total
        one += (within - (1 - share) * strangers) / share / 2
    return one, strangers


def celeba_rows(path, cache, device, thresholds=(0.4, 0.45, 0.5, 0.55, SAME_PERSON)):
    """Two photographs of one person, and of two: what the other distances are to be held against.

    Of the subset with five photographs of each person.
    """
    embedding = FaceEmbedding("celeba", cache, device)
    parts = [embedding(read_faces(path, split).images[:]) for split in PEOPLE]
    for (split, people), part in zip(PEOPLE.items(), parts, strict=True):
        if len(part) != 5 * people:
            raise ValueError(
                f"celeba: {path} has {len(part)} photographs in {split}, not five of {people} "
                "people; without knowing how many are one person, nothing follows from it"
            )
    known = {"world": "celeba", "method": "people", "seed": 0}
    shares = one_person_shares(parts, [10 * people for people in PEOPLE.values()], thresholds)
    return [
        known | {"pair": f"{kind}, below {edge}", "same": s}
        for kind, found in zip(("one person", "strangers"), shares, strict=True)
        for edge, s in zip(thresholds, found, strict=True)
    ]


def measure_world(world, maker, embedding, source, methods, seeds, tables, judged_faces, group_n):
    """Everything of one world: rows go into the tables as soon as they are known."""
    fairness, groups, pairs = tables
    training = read_faces(source, "train")
    heldout = read_faces(source, heldout_of(world.name))
    # photographs lie in the order of age: neighbours are alike, and the first ones are young
    heldout = taken(heldout, np.random.default_rng(0).permutation(len(heldout)))
    # one half of the training faces to fit on, the other to be measured like a method's faces
    half, others = np.array_split(np.random.default_rng(1).permutation(len(training)), 2)
    cells = world.joint(training.labels, world.target)
    fitted = half[even_over_cells(cells[half], FIT, seed=0)]
    judged = embedding_world(world, taken(training, fitted), heldout, embedding)
    known = {"world": world.name}
    if not fairness.has(**known, method="real"):
        fairness.add(real_rows(judged))
    if not groups.has(**known, method="real"):  # as many real faces: what is left of a distance
        real = judged.classify(training.images[others[:REAL]])
        groups.add(group_rows(judged, real, "real", group_n))
    if not pairs.has(**known, method="real"):
        pairs.add(real_pair_rows(judged, embedding, heldout))

    def say(faces):
        return judged.classify(faces.images[:judged_faces])

    for method in methods:
        known = {"world": world.name, "method": method}
        audited = [s for s in seeds if fairness.has(**known, seed=s)]
        paired = [s for s in seeds if method not in PAIRED or pairs.has(**known, seed=s)]
        if len(audited) == len(paired) == len(seeds) and groups.has(**known):
            continue
        print(f"{world.name} {method}", flush=True)
        said = {}
        for seed in seeds:
            faces = maker.faces(method, seed)
            said[seed] = say(faces)
            if seed not in audited:
                cells = by_quotas(method, faces)
                cells = None if cells is None else cells[:judged_faces]
                fairness.add(fairness_rows(judged, said[seed], method, seed, cells))
            if seed not in paired:
                plain = say(maker.faces("plain", seed))
                pairs.add(pair_rows(judged, plain, said[seed], method, seed))
        groups.add(group_rows(judged, Predictions.joined(list(said.values())), method, group_n))


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--worlds", nargs="*", default=WORLDS)
    arguments.add_argument(
        "--methods", nargs="*", help="all, when omitted; with none named, real faces alone"
    )
    arguments.add_argument("--n", type=int, default=2000, help="faces of each method and seed")
    arguments.add_argument("--judged", type=int, help="of those, the first ones; all when omitted")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--group-faces", type=int, default=GROUP_FACES)
    arguments.add_argument("--faces", type=Path, default=Path("runs/faces"))
    arguments.add_argument("--cache", type=Path, default=Path("runs/embeddings"))
    add_sources(arguments)
    arguments.add_argument(
        "--people", type=Path, help="CelebA zip of five photographs a person; not asked without"
    )
    arguments.add_argument("--out", type=Path, default=Path("data/results"))
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="bfloat16",
        help="of the generator, for faces that are missing; judges run in float32",
    )
    options = arguments.parse_args()
    for name in options.worlds:
        if name in PHOTOGRAPHIC and getattr(options, name) is None:
            dataset = PHOTOGRAPHIC[name]
            arguments.error(f"--{name}: {name}'s judge is fitted on {dataset}; pass its zip")
    options.out.mkdir(parents=True, exist_ok=True)
    keys = ["world", "method"]
    tables = (
        Table(options.out / "embedding.csv", [*keys, "attribute", "seed"]),
        Table(options.out / "embedding_groups.csv", [*keys, "attribute", "group"]),
        Table(options.out / "embedding_pairs.csv", [*keys, "pair", "seed"]),
    )
    if options.people is not None and not tables[2].has(world="celeba", method="people"):
        tables[2].add(celeba_rows(options.people, options.cache, options.device))
    for name in options.worlds:
        world = load_world(name, device=options.device)
        generator = load_world(name, device=options.device, dtype=getattr(torch, options.dtype))
        measure_world(
            world,
            FaceMaker(generator, options.n, options.faces),
            FaceEmbedding(name, options.cache, options.device),
            source_of(world, options),
            [m for m in applicable(world) if options.methods is None or m in options.methods],
            options.seeds,
            tables,
            options.judged or options.n,
            options.group_faces,
        )


if __name__ == "__main__":
    main()

"""Who is rendered: labels drawn at random, and how often each cell occurs.

The words are MakeHuman's parameters, not identities: 'female' and 'male' are two ends of a slider
of shapes, the ancestries are three sets of sculpted offsets.
"""

import numpy as np
from heads_look import IRIS_COLOURS, linear, srgb

GENDERS = ("female", "male")
ANCESTRY_NAMES = ("african", "asian", "european")
AGES = ("young", "middle", "older")
# Years of the three groups; the gaps keep them apart. MakeHuman's young..old is 18..85 here.
AGE_YEARS = {"young": (18, 30), "middle": (43, 54), "older": (67, 85)}
# of each: the seed's second part, and how many heads; "heldout" is as skewed as "train"
SPLITS = {
    "train": (0, 10_000),
    "reference": (1, 3_000),
    "classifier": (2, 7_000),
    "heldout": (3, 3_000),
}

# The skew of the training split, in percent: columns young, middle, older. Ours, by choice.
TRAIN_PERCENT = {
    ("female", "african"): (2.6, 1.0, 0.8),
    ("female", "asian"): (5.7, 2.4, 0.9),
    ("female", "european"): (13.9, 6.7, 2.0),
    ("male", "african"): (4.8, 3.8, 2.0),
    ("male", "asian"): (7.2, 6.0, 2.8),
    ("male", "european"): (15.8, 14.1, 7.5),
}

# Individual Typology Angle by ancestry: mean, standard deviation (degrees); wide, overlapping.
SKIN_ITA = {"african": (-20, 21), "asian": (28, 15), "european": (42, 14)}
SKIN_TYPES = ((55, "very light"), (41, "light"), (28, "intermediate"), (10, "tan"),
              (-30, "brown"), (-91, "dark"))
# Styles and facial hair overlap between genders on purpose: hair must not give gender away.
HAIR_SHARES = {
    "female": {"bald": 0.01, "buzz": 0.04, "short": 0.11, "side part": 0.09, "curly": 0.10,
               "afro": 0.05, "bun": 0.16, "bob": 0.20, "long": 0.24},
    "male": {"bald": 0.12, "buzz": 0.19, "short": 0.28, "side part": 0.18, "curly": 0.10,
             "afro": 0.03, "bun": 0.03, "bob": 0.02, "long": 0.05},
}
# How the texture of hair differs: a factor on the shares above, per ancestry.
HAIR_FACTORS = {"african": {"afro": 5, "curly": 2, "side part": 0.3, "buzz": 1.5},
                "asian": {"afro": 0.1, "curly": 0.6}, "european": {"afro": 0.2}}
COLOUR_SHARES = {
    "african": {"black": 0.72, "dark brown": 0.24, "brown": 0.03, "blond": 0.01},
    "asian": {"black": 0.66, "dark brown": 0.28, "brown": 0.04, "blond": 0.01, "red": 0.01},
    "european": {"black": 0.14, "dark brown": 0.30, "brown": 0.28, "blond": 0.20, "red": 0.08},
}
GREY_SHARES = {"young": {"greying": 1.0}, "middle": {"greying": 0.9, "grey": 0.1},
               "older": {"greying": 0.05, "grey": 0.40, "white": 0.55}}
FACIAL_HAIR = {"none": 0.52, "stubble": 0.20, "moustache": 0.07, "goatee": 0.08, "beard": 0.13}
GARMENTS = ("crew", "v-neck", "turtleneck", "shirt")
FRAMES = ((34, 30, 30), (70, 48, 34), (92, 94, 100), (122, 30, 34), (40, 52, 88))


def cells():
    """The 18 cells (gender, ancestry, age), in a fixed order."""
    return [(g, a, y) for g in GENDERS for a in ANCESTRY_NAMES for y in AGES]


def allocate(split, n):
    """Cell of every head of a split: exact counts by largest remainder, in cell order.

    Parameters
    ----------
    split : {'train', 'reference', 'classifier', 'heldout'}
    n : int

    Returns
    -------
    list of tuple
        ``n`` cells, sorted by cell.
    """
    share = np.full(18, 1 / 18)
    if split in ("train", "heldout"):
        share = np.array([TRAIN_PERCENT[g, a][AGES.index(y)] for g, a, y in cells()]) / 100
    exact = n * share / share.sum()
    counts = np.floor(exact + 1e-9).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return [cell for cell, count in zip(cells(), counts, strict=True) for _ in range(count)]


def pick(shares, rng):
    """Draw a key of a dict of shares."""
    p = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=p / p.sum()))


def lab_of(rgb):
    """CIELAB (D65) of an sRGB colour in 0..255."""
    xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                    [0.0193339, 0.1191920, 0.9503041]]) @ linear(rgb)
    t = xyz / (0.95047, 1.0, 1.08883)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def rgb_of(lightness, a, b):
    """sRGB colour in 0..255, rounded, of a CIELAB (D65) colour."""
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    t = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.95047, 1.0, 1.08883)
    light = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560],
                      [0.0556434, -0.2040259, 1.0572252]]) @ t
    return tuple(int(v) for v in np.round(srgb(light)))


def typology_angle(rgb):
    """Individual Typology Angle of an albedo, in degrees.

    References
    ----------
    Chardon, Cretois, Hourseau, "Skin colour typology and suntanning pathways", 1991; categories
    as in Del Bino and Bernerd, "Variations in skin colour and the biological consequences of
    ultraviolet radiation exposure", 2013.
    """
    lightness, _, b = lab_of(rgb)
    return float(np.degrees(np.arctan2(lightness - 50, b)))


def draw_skin(ancestry, rng):
    """An sRGB skin albedo; the angle is drawn first, so that tones overlap between ancestries."""
    mean, sd = SKIN_ITA[ancestry]
    angle = np.clip(rng.normal(mean, sd), -62, 66)
    b = np.interp(angle, [-62, -30, 15, 45, 66], [9, 14, 20, 16.5, 12.5]) * rng.normal(1, 0.05)
    a = np.interp(angle, [-62, -30, 15, 45, 66], [7.5, 10.5, 11.5, 9.5, 7.5]) * rng.normal(1, 0.10)
    return rgb_of(50 + b * np.tan(np.radians(angle)), a, b)


def muted(rng, low, high, most=16):
    """A colour of moderate lightness and little chroma."""
    hue, chroma = rng.uniform(0, 2 * np.pi), rng.uniform(1, most)
    return rgb_of(rng.uniform(low, high), chroma * np.cos(hue), chroma * np.sin(hue))


def draw_person(cell, rng):
    """Labels and appearance of one head of a given (gender, ancestry, age) cell.

    Parameters
    ----------
    cell : tuple of str
    rng : numpy.random.Generator

    Returns
    -------
    dict
    """
    gender, ancestry, age = cell
    years = rng.uniform(*AGE_YEARS[age])
    main, split = rng.uniform(0.75, 1.0), rng.random()
    others = [name for name in ANCESTRY_NAMES if name != ancestry]
    weight = {ancestry: main, others[0]: (1 - main) * split, others[1]: (1 - main) * (1 - split)}
    skin = draw_skin(ancestry, rng)
    angle = typology_angle(skin)
    factor = HAIR_FACTORS[ancestry]
    style = pick({k: v * factor.get(k, 1) for k, v in HAIR_SHARES[gender].items()}, rng)
    colour = pick(COLOUR_SHARES[ancestry], rng)
    if rng.random() < {"young": 0.01, "middle": 0.75, "older": 0.96}[age]:
        colour = pick(GREY_SHARES[age], rng)
    balding = gender == "male" and rng.random() < {"young": 0.08, "middle": 0.35, "older": 0.6}[age]
    light_eyes = ancestry == "european" and rng.random() < 0.55
    eyes = {k: 1 for k in IRIS_COLOURS if (k != "brown") == light_eyes}
    azimuth = rng.uniform(12, 60) * rng.choice([-1, 1])
    return {
        "gender": gender, "ancestry": ancestry, "age": age, "age_years": round(years, 1),
        "age_weight": (years - 18) / (85 - 18),
        "gender_weight": float(rng.uniform(0, 0.15) + 0.85 * (gender == "male")),
        **{f"w_{name}": weight[name] for name in ANCESTRY_NAMES},
        "skin_ita": angle,
        "skin_type": next(name for least, name in SKIN_TYPES if angle > least),
        "skin_rgb": skin,
        "hair_style": style, "hair_color": colour,
        "hairline": rng.uniform(-0.06, 0.04) - 0.22 * (style in ("bob", "long", "short")
                                                       and rng.random() < 0.2),
        "recession": float(rng.uniform(0.5, 1.0)) if balding else 0.0,
        "facial_hair": pick(FACIAL_HAIR, rng) if gender == "male" else "none",
        "smile": int(rng.random() < 0.5), "glasses": int(rng.random() < 0.28),
        "eye_color": pick(eyes, rng), "frame_rgb": FRAMES[rng.integers(len(FRAMES))],
        "garment": str(rng.choice(GARMENTS)), "garment_rgb": muted(rng, 18, 72, 24),
        "yaw": float(np.clip(rng.normal(0, 11), -32, 32)),
        "pitch": float(np.clip(rng.normal(0, 5), -13, 13)),
        "roll": float(rng.normal(0, 2.5)),
        "light_azimuth": float(azimuth), "light_elevation": float(rng.uniform(8, 50)),
        "light_intensity": float(rng.uniform(0.85, 1.2)),
        "background_rgb": muted(rng, 40, 80, 12),
    }

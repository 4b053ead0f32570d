"""Where a world's real faces are: rendered ones lie with it, photographs where their user says."""

from pathlib import Path

PHOTOGRAPHIC = {"utkface": "UTKFace", "celeba": "CelebA"}
WORLDS = ("heads", *PHOTOGRAPHIC)


def add_sources(arguments):
    """One option for each photographic world's archive."""
    for world, dataset in PHOTOGRAPHIC.items():
        arguments.add_argument(f"--{world}", type=Path, help=f"{dataset}'s folder or zip")


def heldout_of(name):
    """The split that a world's faces are judged by; that of rendered faces is balanced."""
    return {"utkface": "heldout", "celeba": "test"}.get(name, "reference")


def source_of(world, options):
    """The folder or archive with a world's real faces; None if it was not passed."""
    return getattr(options, world.name) if world.name in PHOTOGRAPHIC else world.folder

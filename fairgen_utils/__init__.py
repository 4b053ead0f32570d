"""The road, in one import: load, measure, localize, generate, judge, show.

Names are looked up when they are first used, so that `python -m fairgen_utils checkup` can say
what is missing on a machine without torch.
"""

import importlib

_ROAD = {
    "load": ("Predictions", "World", "load_world", "parse_target"),
    "measure": (
        *("shares", "soft_shares", "joint_labels", "marginal_shares"),
        *("fairness_discrepancy", "kl_divergence", "normalized_entropy"),
        *("share_intervals", "bootstrap_interval", "noise_floor"),
        *("confusion_rates", "correct_shares", "amplification"),
    ),
    "models.mixture": ("LatentMixture",),
    "localize": ("component_table", "localized_mixture", "solve_weights"),
    "generate": (
        *("encode", "decode", "denoise", "invert", "start_timestep", "timesteps_of"),
        *("sample_plain", "sample_localized", "generate", "pilot_weights", "Sample"),
    ),
    "judge": (
        *("audit_fairness", "audit_quality", "audit_groups", "own_group_rate"),
        *("frechet_distance", "kernel_distance", "manifold_scores", "detail"),
    ),
}
_HOME = {name: module for module, names in _ROAD.items() for name in names}
_VERBS = ("load", "measure", "localize", "generate", "judge", "show", "course")
__all__ = [*_HOME, *_VERBS]


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _VERBS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)

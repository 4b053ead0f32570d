"""The road, in one import: load, measure, localize, generate, judge, show.

Names are looked up when they are first used, so that `python -m fairgen_utils checkup` can say
what is missing on a machine without torch.
"""

import importlib

_HOME = {
    "load": ("load_world",),
    "models.world": ("Predictions", "World", "parse_target"),
    "models.own_world": ("own_world",),
    "measure": (
        *("shares", "soft_shares", "joint_labels", "marginal_shares"),
        *("fairness_discrepancy", "kl_divergence", "normalized_entropy"),
        *("share_intervals", "bootstrap_interval", "fd_interval", "noise_floor"),
        *("paired_difference", "amplification"),
        *("confusion_counts", "confusion_rates", "correct_shares"),
    ),
    "models.mixture": ("LatentMixture",),
    "localize": (
        *("localize_mixture", "CellPosterior", "component_table", "solve_weights", "fit_weights"),
    ),
    "models.diffusion": ("encode", "decode", "denoise"),
    "generate": ("Sampler", "Sample", "recommended_sampler"),
    "judge": (
        *("audit_fairness", "audit_quality", "audit_groups", "group_brightness"),
        *("frechet_distance", "kernel_distance", "manifold_scores"),
        *("recognition_rate", "sharpness", "relative_sharpness", "brightness"),
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_VERBS = ("load", "measure", "localize", "generate", "judge", "show")
__all__ = [*_MODULE_OF, *_VERBS, "course"]


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)

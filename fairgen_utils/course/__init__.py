"""Exercises: checks that say what is wrong with an answer, and never what would be right.

A file per chapter, read when one of its checks is first asked for.
"""

import importlib

_CHAPTERS = (
    ("check_called_female", "check_classifier_error"),
    ("check_rare_share", "check_melting_alpha", "check_step_with_fresh_noise"),
    ("check_compression", "check_noise_from_velocity", "check_error_of_guess"),
    ("check_faces_needed", "check_published_fd", "check_repaired_fd", "check_largest_fd"),
    ("check_control_probe", "check_noisy_distance", "check_balanced_accuracy"),
    ("check_purity", "check_push_on", "check_bic"),
    ("check_two_components", "check_promised_fd", "check_keep_probability"),
    ("check_false_alarm", "check_frechet_1d", "check_share_followed"),
    ("check_balancing_weights", "check_paired_interval", "check_equalised_odds"),
    ("check_reduction", "check_true_share", "check_faces_to_plan"),
    ("check_truncate_to_own", "check_detail_left", "check_shards_to_do"),
    ("CARD_ENTRIES", "check_share_of_women", "check_rise_of_reported_share", "check_model_card"),
    ("check_times_cheaper", "check_recall", "check_most_copies"),
)
_HOME = {name: f"chapter_{i:02d}" for i, names in enumerate(_CHAPTERS) for name in names}
__all__ = list(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)

"""The bias dashboard: choose shares, press a button, watch faces and their numbers arrive.

`Dashboard()` in a notebook, or ``python -m fairgen_utils dashboard``. What it exports comes with
its settings, from which the same command makes the same faces again.
"""

from fairgen_utils.apps.dashboard.export import main
from fairgen_utils.apps.dashboard.page import Dashboard
from fairgen_utils.apps.dashboard.settings import Settings
from fairgen_utils.apps.dashboard.studio import Studio

__all__ = ["Dashboard", "Settings", "Studio", "main"]

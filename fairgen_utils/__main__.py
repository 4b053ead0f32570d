"""`python -m fairgen_utils`: see apps/command_line.py."""

import platform
import sys

if __name__ == "__main__":
    # an older one does not get beyond the import below
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"Python {platform.python_version()} is too old: install Python 3.11 or newer")
    from fairgen_utils.apps.command_line import main

    sys.exit(main())

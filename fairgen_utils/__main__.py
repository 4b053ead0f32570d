"""`python -m fairgen_utils`: see apps/command_line.py."""

import sys

from fairgen_utils.apps.command_line import main

if __name__ == "__main__":
    sys.exit(main())

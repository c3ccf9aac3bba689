"""Entry of the `nestvec` script, outside the package, whose import takes a moment.

Ctrl-C in that moment ends the command as it does later: without a traceback, with exit code 130.
"""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from nestvec.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(130)

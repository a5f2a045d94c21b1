"""See `python tools/robustness.py --help` and mvector/cli/robustness.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the scripts beside it do without saying so

from mvector.cli import run
from mvector.cli.robustness import main

if __name__ == "__main__":
    run(main)

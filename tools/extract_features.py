"""See `python tools/extract_features.py --help` and mvector/cli/extract_features.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the scripts beside it do without saying so

from mvector.cli import run
from mvector.cli.extract_features import main

if __name__ == "__main__":
    run(main)

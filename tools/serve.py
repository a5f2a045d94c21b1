"""See `python tools/serve.py --help` and mvector/cli/serve.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the scripts beside it do without saying so

from mvector.cli import run
from mvector.cli.serve import main

if __name__ == "__main__":
    run(main)

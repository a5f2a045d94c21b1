"""See `python tools/make_shards.py --help` and mvector/cli/make_shards.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the scripts beside it do without saying so

from mvector.cli import run
from mvector.cli.make_shards import main

if __name__ == "__main__":
    run(main)

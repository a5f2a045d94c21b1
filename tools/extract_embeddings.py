"""See `python tools/extract_embeddings.py --help` and mvector/cli/extract_embeddings.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the scripts beside it do without saying so

from mvector.cli import run
from mvector.cli.extract_embeddings import main

if __name__ == "__main__":
    run(main)

"""See `python infer_contrast.py --help` and mvector/cli/contrast.py."""

from mvector.cli import run
from mvector.cli.contrast import main

if __name__ == "__main__":
    run(main)

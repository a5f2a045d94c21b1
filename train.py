"""See `python train.py --help` and mvector/cli/train.py."""

from mvector.cli import run
from mvector.cli.train import main

if __name__ == "__main__":
    run(main)

"""See `python eval.py --help` and mvector/cli/evaluate.py."""

from mvector.cli import run
from mvector.cli.evaluate import main

if __name__ == "__main__":
    run(main)

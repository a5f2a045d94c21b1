"""See `python -m mvector.serve --help` and mvector/cli/serve.py."""

from mvector.cli import run
from mvector.cli.serve import main

if __name__ == "__main__":
    run(main)

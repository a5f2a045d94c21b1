"""See `python infer_recognition.py --help` and mvector/cli/recognition.py."""

from mvector.cli import run
from mvector.cli.recognition import main

if __name__ == "__main__":
    run(main)

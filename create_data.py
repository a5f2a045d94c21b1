"""Data lists from a corpus or from your own recordings: python create_data.py --help"""

from mvector.cli import run
from mvector.cli.create_data import main

if __name__ == "__main__":
    run(main)

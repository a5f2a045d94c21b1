"""`python -m mvector.zoo` prints the table of all networks, `docs/models.md`."""

import sys

from mvector.zoo.table import table

if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    print(table(), end="")

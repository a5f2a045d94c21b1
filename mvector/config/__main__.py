"""`python -m mvector.config` prints the reference of all configuration keys, `docs/configuration.md`."""

import sys

from mvector.config.documentation import documentation

if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    print(documentation(), end="")

"""python -m espnet_topdown validate_data; this name stays for one release."""

from __future__ import annotations

import sys

from espnet_topdown.cli.main import main

if __name__ == "__main__":
    main(["validate_data", *sys.argv[1:]])

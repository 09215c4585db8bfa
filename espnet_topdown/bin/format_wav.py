"""python -m espnet_topdown format_wav; this name stays for one release."""

from __future__ import annotations

import sys

from espnet_topdown.cli.main import main

if __name__ == "__main__":
    main(["format_wav", *sys.argv[1:]])

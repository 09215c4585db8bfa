"""python -m espnet_topdown.bin.main VERB; launchers and scripts have this name."""

from __future__ import annotations

from espnet_topdown.cli.main import main

if __name__ == "__main__":
    main()

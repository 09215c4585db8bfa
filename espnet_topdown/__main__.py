"""``python -m espnet_topdown VERB``: the same as ``espnet-topdown VERB``."""

from __future__ import annotations

from espnet_topdown.cli.main import main

if __name__ == "__main__":
    main()

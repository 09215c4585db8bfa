"""``python -m espnet_topdown VERB``: the same as ``espnet-topdown VERB``."""

from __future__ import annotations

from espnet_topdown.bin.main import main

if __name__ == "__main__":
    main()

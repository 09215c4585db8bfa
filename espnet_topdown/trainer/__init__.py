"""What our trainer adds to ESPnet's, one small module for each addition."""

from espnet_topdown.models import type_checks

type_checks.disable_typeguard()

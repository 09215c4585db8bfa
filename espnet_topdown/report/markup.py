"""Text of the report as HTML."""

from __future__ import annotations

import re
from html import escape

_MATH = re.compile(r"M_\{([\d,]+)\}")


def prose(text: str) -> str:
    """Escaped text in which M_{1,4} has a real subscript, and minus signs are minus.

    >>> prose("M_{1,4} <b> -1.20 points")
    'M<sub>1,4</sub> &lt;b&gt; \u22121.20 points'
    """
    text = _MATH.sub(r"M<sub>\1</sub>", escape(text))
    text = text.replace(" -&gt; ", " \u2192 ")
    return re.sub(r"(?<![\w.-])-(?=\d)", "\u2212", text)

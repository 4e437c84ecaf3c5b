"""Which function draws for which network over windows of series."""

from __future__ import annotations

from collections.abc import Mapping

from .doppelganger import draw_doppelganger
from .series import Draw
from .series_diffusion import draw_diffusion
from .timegan import draw_timegan
from .timevae import draw_timevae

DRAWS: Mapping[str, Draw] = {
    "timevae": draw_timevae,
    "timegan": draw_timegan,
    "doppelganger": draw_doppelganger,
    "series-diffusion": draw_diffusion,
}

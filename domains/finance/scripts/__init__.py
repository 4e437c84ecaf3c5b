"""What the scenarios do. Every draw is addressed by instance, member and number, so that all blocks play one scene."""

from __future__ import annotations

from .accounts import account_takeover
from .cards import cards
from .motif import motif
from .records import records

SCRIPTS = {"cards": cards, "account_takeover": account_takeover, "motif": motif, "records": records}

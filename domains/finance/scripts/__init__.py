"""What the scenarios do. Every draw is addressed by instance, member and number, so that all blocks play one scene."""

from __future__ import annotations

from .accounts import account_takeover
from .cards import card_testing
from .motif import motif

SCRIPTS = {"card_testing": card_testing, "account_takeover": account_takeover, "motif": motif}

"""Streams: a dataset's events in order of time, sent to a broker at a pace, none lost.

A run (`core/run.py`) writes the events of every block into a store (`store.py`), sorted by time; `play.py` merges them, waits until each is due
(`pace.py`) and hands them to an outlet (`outlets/`), which says what was confirmed.
"""

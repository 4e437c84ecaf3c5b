"""Whole databases: parents, children, several parents, references of a table to itself, children in order of time.

A table's rows hang on those of one parent, its *owner*: a parent's row says how many children it has, and children are drawn one after another, given
the owner's row and the sibling before. Further parents are referred to: the child's model draws what kind of row it names, and one of that kind is named.
Any model of one table serves for each of them; keys are made anew, so every reference leads somewhere.
"""

from __future__ import annotations

NAME = "relational"
"""What the model of several tables is called in files and lists."""

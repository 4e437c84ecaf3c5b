"""Names of any script in lower-case ASCII letters, as they stand in e-mail addresses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from .pools import provider


@lru_cache(maxsize=1 << 16)
def romanise(text: str) -> str:
    """The first word of a text that is no particle, in lower-case ASCII letters; empty where the script cannot be read letter by letter."""
    text = _japanese().get(text, text)
    out: list[str] = []
    for char in unicodedata.normalize("NFC", text):
        name = unicodedata.name(char, "")
        if name.startswith("DEVANAGARI"):
            _devanagari(name, out)
        elif char in _LETTERS:
            out.append(_LETTERS[char])
        else:
            plain = unicodedata.normalize("NFKD", char)
            out.append("".join(c for c in plain if not unicodedata.combining(c)))
    words = re.findall(r"[a-z]+", "".join(out).lower().replace("'", "").replace(".", ""))
    return next((w for w in words if len(w) > 2), max(words, key=len, default=""))


def _devanagari(name: str, out: list[str]) -> None:
    """Unicode names spell the sound: a letter carries an a, which a vowel sign replaces and a virama drops."""
    last = name.split()[-1].lower()
    if " VOWEL SIGN " in name or name.endswith("SIGN VIRAMA"):
        if out and out[-1].endswith("a"):
            out[-1] = out[-1][:-1]
        out.append("" if name.endswith("VIRAMA") else last)
    elif name.endswith(("SIGN ANUSVARA", "SIGN CANDRABINDU")):
        out.append("n")
    elif " LETTER " in name:
        out.append(last)


_LETTERS = {
    "ß": "ss", "ł": "l", "Ł": "l", "ø": "o", "Ø": "o", "đ": "d", "Đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ä": "ae", "ö": "oe", "ü": "ue",
    "Ä": "ae", "Ö": "oe", "Ü": "ue", "þ": "th", "ا": "a", "أ": "a", "إ": "i", "آ": "a", "ب": "b", "ت": "t", "ث": "th", "ج": "j", "ح": "h",
    "خ": "kh", "د": "d", "ذ": "dh", "ر": "r", "ز": "z", "س": "s", "ش": "sh", "ص": "s", "ض": "d", "ط": "t", "ظ": "z", "ع": "a", "غ": "gh",
    "ف": "f", "ق": "q", "ك": "k", "ل": "l", "م": "m", "ن": "n", "ه": "h", "و": "w", "ي": "y", "ى": "a", "ة": "a", "ئ": "y", "ؤ": "w",
}  # fmt: skip


@lru_cache(maxsize=1)
def _japanese() -> Mapping[str, str]:
    person = provider("ja_JP", "person")
    pairs = (*person.first_name_pairs, *person.last_name_pairs)
    return {kanji: romaji for kanji, _, romaji in pairs}

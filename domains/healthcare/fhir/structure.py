"""Whether a resource is built as FHIR R4 says, by fhir.resources. Codes and the like are the same in thousands of resources: each is judged once, and
stands as what it was found to be wherever it comes again."""

from __future__ import annotations

import marshal
from functools import cache
from typing import Any

REPEAT = frozenset(("CodeableConcept", "Coding", "Meta", "Money", "Period", "Quantity", "Reference"))
"""Datatypes whose values come again and again."""
MOST = 100_000
"""Values that are kept; then begun anew."""

_children: dict[tuple[type, str], type] = {}
_known: dict[tuple[type, str, bytes], Any] = {}


def fault(kind: Any, resource: dict[str, Any]) -> str | None:
    """What is wrong with the structure of a resource, None if nothing is."""
    try:
        model = _model(kind)
        news: list[str] = []
        made = model.model_validate(_with_known(model, resource, news))
    except (ValueError, KeyError, LookupError, TypeError):
        return _told(kind, resource)
    if news:
        _learn(model, made, resource)
    return None


def _told(kind: Any, resource: dict[str, Any]) -> str | None:
    try:
        _model(kind).model_validate(resource)
    except (ValueError, KeyError, LookupError, TypeError) as error:
        return " ".join(str(error).split())[:300]
    return None


@cache
def _model(kind: Any) -> Any:
    from fhir.resources.R4B import get_fhir_model_class

    return get_fhir_model_class(kind)


def _with_known(model: type, value: dict[str, Any], news: list[str]) -> dict[str, Any]:
    """The element with models in place of the parts that have been judged; `news` names those that have not."""
    out: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, dict):
            out[name] = _part(model, name, part, news)
        elif isinstance(part, list):
            out[name] = [_part(model, name, p, news) if isinstance(p, dict) else p for p in part]
        else:
            out[name] = part
    return out


def _part(model: type, name: str, part: dict[str, Any], news: list[str]) -> Any:
    if "resourceType" in part:  # may be of any type
        return part
    child = _children.get((model, name))
    if child is not None and child.__name__ not in REPEAT:
        return _with_known(child, part, news)
    found = _known.get((model, name, marshal.dumps(part, 2))) if child is not None else None
    if found is None:
        news.append(name)
        return part
    return found


def _learn(model: Any, made: Any, value: dict[str, Any]) -> None:
    fields = model.get_alias_mapping()
    for name, part in value.items():
        found = getattr(made, fields.get(name, name), None)
        pairs = (
            zip(part, found, strict=True) if isinstance(part, list) and isinstance(found, list) else ((part, found),)
        )
        for given, judged in pairs:
            if not isinstance(given, dict) or "resourceType" in given or not hasattr(judged, "get_alias_mapping"):
                continue
            child = _children.setdefault((model, name), type(judged))
            if child.__name__ not in REPEAT:
                _learn(child, judged, given)
                continue
            if len(_known) >= MOST:
                _known.clear()
            _known[model, name, marshal.dumps(given, 2)] = judged

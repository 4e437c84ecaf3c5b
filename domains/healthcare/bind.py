"""What goes by a schema and by priors at once: checks and views."""

from __future__ import annotations

from dataclasses import replace

from ...core.domain import Domain
from ...core.priors import Priors
from ...core.schema import Schema


def bind(domain: Domain, schema: Schema, priors: Priors) -> Domain:
    """The domain with a schema, and with the checks and views of that schema that go by these priors."""
    from . import checks, fhir
    from .views import views

    return replace(
        domain,
        schema=schema,
        checks=checks.checks(priors, schema),
        views={**fhir.views(schema, priors), **views(schema)},
    )


def settled(domain: Domain, priors: Priors) -> Domain:
    """The domain of a run whose user has set priors."""
    return bind(domain, domain.schema, priors)

"""Importing FHIR R4 records of others into the domain's tables."""

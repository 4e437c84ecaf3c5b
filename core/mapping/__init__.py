"""Their schema, not ours: tables that somebody else designed, filled from a domain's tables by SQL views, and where no domain has what they
ask for, by type, name and constraint."""

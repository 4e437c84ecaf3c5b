"""Disease modules: Synthea's Generic Module Framework (JSON state machines), run for all patients of a block together."""

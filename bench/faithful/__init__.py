"""Is what is handed over whole, and does it say nothing that the source does not? Without a model for a judge."""

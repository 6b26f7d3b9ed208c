"""The story of a study: plan, skip what is done, execute, store, summarise, report."""

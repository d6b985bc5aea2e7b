"""gateway: one call through its stages, from the outermost (telemetry) to the provider.

recipe (build_gateway: the order and its reasons), pipeline (Stage, compose), preview (Preview: what a call would cost).
May import providers, cache, costs, jobs, events, db, core; bootstrap puts it together, tasks ask it.
"""

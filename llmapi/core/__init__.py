"""core: the vocabulary every room shares. Imports nothing of ours.

calls (Call, Reply, Chunk, Completion, Usage), errors, contracts (Protocols between rooms), events, lifetime,
money, ids, clock.
"""

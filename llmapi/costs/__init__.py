"""costs: what a call costs, before it is made and after.

prices (GenaiPrices: the price of tokens by provider and model), tokens (how many tokens a question may have).
May import db and core, never another subject room.
"""

"""costs: what a call costs, before it is made and after, and who may spend how much.

prices (GenaiPrices: the price of tokens by provider and model), tokens (how many tokens a question may have); ledger
(what every call cost, and the holds of calls under way), reservations and budget_counters (the work of its
transactions), ledger_rows, savings, bookings and postings (what is written; `verify` proves it), writing_behind;
budgets and budget_windows; rollups, usage and retention (what is asked and kept of it), recommendations.
May import db and core, never another subject room.
"""

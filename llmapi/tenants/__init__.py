"""tenants: who is asking and what they may do: tenants, their projects and keys, roles, plans. Imports db and core.

keys (Keyring: whose key is this; make, rotate, revoke), key_words (how a key is written), key_rows (a key as it is
kept), holders (KeyHolder: whom a good key stands for), changes (when to look again), last_use, roles (scopes,
roles), tenants (Tenants: tenants and projects), suspended (Suspended), plans (Plans), signing (Signatures), quotas
(Quotas).

A key is never kept: the database has its public id and an HMAC of the whole, with a pepper it does not have. What is
known of a key is remembered in each process and dropped when anything about tenants or keys changed anywhere.
"""

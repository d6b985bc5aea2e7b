"""Who is asking and what they may do: tenants, their projects and keys, roles, plans.

Main names: keys.Keyring, tenants.Tenants, plans.Plans. May import db and core.
"""

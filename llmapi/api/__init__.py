"""api: the front door; alone with app.py it knows Flask.

v1/ has one file per endpoint group, schemas/ the contract each keeps; context, auth, limits, errors, answering and
streaming stand around the views. May import every room below: bootstrap, settings, tasks and what those use.
"""

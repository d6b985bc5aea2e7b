"""db: rows on disk, and the counters all processes of this machine share. Imports core alone.

engine (open_engine, reading, writing), tables (the metadata), schema (upgrade), errors (storage_errors), counters
(rate limits), checkpoint (SQLite's write-ahead log), files (private files and folders), forks.

Processes and threads: an engine may be opened before a fork. What it has open is closed just before each fork, because
a child that inherits an open SQLite file holds none of its locks; parent and child open again when they need to.
Never fork while a transaction runs.
"""

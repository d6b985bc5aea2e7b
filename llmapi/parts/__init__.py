"""parts: the services' parts, put together from the settings, a file for each kind; bootstrap.py joins them.

base (what all of them stand on), known (who asks), telling (who is told), books (what calls cost), calling (the line a
question goes along), working (jobs and batches). May import everything but services, bootstrap and the doors.
"""

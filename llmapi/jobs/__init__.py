"""jobs: work for later, kept in the database so that it survives a restart and a killed process. Imports db and core.

registry (Registry: put, get, list, cancel for callers; claim, heartbeat, succeed, fail, hand_back for workers),
threads (Threads: runs jobs in this process), job (Job, Claim), statements (the SQL).

A job runs at least once: a killed process's jobs are taken up again when their lease ends. Its outcome is written once:
who lost the lease cannot write. Another engine (Celery) is another worker on the same registry: it claims and reports.
"""

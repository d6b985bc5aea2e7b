"""jobs: work for later, kept in the database so that it survives a restart and a killed process. Imports db and core.

registry (Registry: put, get, list, cancel for callers; claim, heartbeat, succeed, fail, hand_back for workers),
dead_letters (those given up), priorities (whose turn it is), statements (the other SQL), changes (one transaction,
then told), job (Job, Claim), runner (Runner: runs a claim and reports), running (what a run is given), threads
(Threads: the engine of this process).

A job runs at least once: a killed process's jobs are taken up again when their lease ends. Its outcome is written once:
who lost the lease cannot write. Another engine brings ids or wake-ups from elsewhere to a Runner on the same registry.
"""

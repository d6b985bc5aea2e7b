"""tasks: what is asked of a model and how its answer is read. Pure logic: no Flask, no vendor, no I/O.

text, code, classify: make a task's calls from a base call and read the answers into the contract's output. Beside them:
asking (Ask, Tally, follow_up), json_answers and json_schemas (structured output), fences, languages and syntax
(code), labels, questions and evidence_logprobs / _votes / _embedding (classification); tab, runner and answers bring
every task through the gateway and into its envelope. May import gateway and core.
"""

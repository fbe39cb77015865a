"""`make bench`: this engine and LeRobot side by side, then one page that says how it went.

`python -m bench [name …]` measures those alone; the page is made of all results that are there.
"""

from __future__ import annotations

import subprocess
import sys

from bench import page

NAMES = ("writing", "reading", "editing", "opening", "appending", "convert_v21", "codecs")


def main() -> None:
    failed = [
        name
        for name in sys.argv[1:] or NAMES
        if subprocess.run([sys.executable, "-W", "ignore", "-m", f"bench.{name}"]).returncode
    ]
    for path in page.main():
        print(path)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()

"""Takes files out of a wheel: `pick.py WHEELS DIRECTORY PATH…`; a path with a slash at its end is everything below it."""

import pathlib
import sys
import zipfile

wheels, target, *paths = sys.argv[1:]
for wheel in pathlib.Path(wheels).glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        wanted = [name for name in names if any(name == path or path.endswith("/") and name.startswith(path) for path in paths)]
        archive.extractall(target, wanted)
for path in paths:
    if not (pathlib.Path(target) / path).exists():
        sys.exit(f"no wheel holds {path}")

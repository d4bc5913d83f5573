"""What learners are given: the notebooks with stubs, and how to begin."""

from __future__ import annotations

import shutil
from pathlib import Path

from pgzoo.errors import UsageError

_INSTALLED = Path(__file__).parent / "student"
_IN_A_CLONE = Path(__file__).parents[2] / "notebooks" / "student"


def handout_files() -> list[Path]:
    """The student notebooks in the course's order, and the page that explains them.

    Raises:
        UsageError: where pgzoo was installed without them.
    """
    folder = _INSTALLED if _INSTALLED.is_dir() else _IN_A_CLONE
    notebooks = sorted(folder.glob("*.ipynb"))
    if not notebooks:
        raise UsageError(
            f"Expected the student notebooks in {folder}, but there are none. Install pgzoo anew, "
            "from a wheel or a whole clone."
        )
    return [*notebooks, folder / "README.md"]


def write_handout(folder: Path) -> list[Path]:
    """Write the student notebooks, and how to begin, into a folder.

    Args:
        folder: a new one, or an empty one: what learners wrote is never written over.

    Returns:
        What was written.

    Raises:
        UsageError: if there is something in the folder already, or it cannot be written.
    """
    files = handout_files()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"Expected {folder} to be new or empty, but it holds something. Choose another "
                "folder; nothing was written."
            )
        return [Path(shutil.copyfile(file, folder / file.name)) for file in files]
    except OSError as error:
        raise UsageError(f"Cannot write to {folder}: {error.strerror}.") from error

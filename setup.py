"""The part of the build that pyproject.toml cannot say: the compiled library and the wheel's tag.

The library is compiled by scripts/compile_extension.py, not by torch.utils.cpp_extension: that
one needs torch imported, a CUDA build of it to compile CUDA, and ties the result to one Python.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "scripts"))

import compile_extension  # noqa: E402

# Read by fastdist.info, so that an installation without the library can say why.
NOTE = Path("fastdist") / "_extension_missing.txt"

why_pure = compile_extension.reason_for_pure_python()


class BuildExtension(build_ext):
    """Compiles one plain library: no Python module, so no Python version in its name."""

    def run(self) -> None:
        inplace = self.inplace or getattr(self, "editable_mode", False)
        compile_extension.build(ROOT / compile_extension.LIBRARY if inplace else self._built())

    def _built(self) -> Path:
        return Path(self.build_lib).resolve() / compile_extension.LIBRARY

    def get_ext_filename(self, fullname: str) -> str:
        return str(compile_extension.LIBRARY)

    def get_outputs(self) -> list[str]:
        return [str(self._built())]

    def get_output_mapping(self) -> dict[str, str]:
        return {str(self._built()): str(ROOT / compile_extension.LIBRARY)}


class BuildPython(build_py):
    """Leaves a note in a package that has no library, and takes an old one away."""

    def run(self) -> None:
        super().run()
        inplace = getattr(self, "editable_mode", False)
        note = (ROOT if inplace else Path(self.build_lib)) / NOTE
        if why_pure is None:
            note.unlink(missing_ok=True)
            return
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(why_pure + "\n", encoding="utf-8")
        announce(
            f"fastdist: installing WITHOUT the compiled library: {why_pure}.\n"
            "fastdist: the maps will come from Numba where it is installed, and slowly otherwise."
            " `python -m fastdist.info` says what is missing.\n"
        )


class TaggedWheel(bdist_wheel):
    """py3-none-<platform> with the library, py3-none-any without."""

    def get_tag(self) -> tuple[str, str, str]:
        platform = super().get_tag()[2]
        return "py3", "none", platform if why_pure is None else "any"


def announce(text: str) -> None:
    """Print, also past pip, which keeps a build's output to itself."""
    print(text, flush=True)
    try:
        with open("/dev/tty", "w", encoding="utf-8") as terminal:
            terminal.write("\n" + text)
    except OSError:
        pass  # nobody is watching


setup(
    ext_modules=[] if why_pure else [Extension("fastdist._extension", sources=[])],
    cmdclass={"build_ext": BuildExtension, "build_py": BuildPython, "bdist_wheel": TaggedWheel},
)

"""csrc/cpu/threads.h where threads cannot be had: those that are there do all of the work."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The calling thread gets `left` more pieces of memory: one for the list of threads, one a thread.
PROGRAM = """
#include "cpu/threads.h"
#include <cstdio>
#include <cstdlib>
#include <new>

static thread_local int left = -1;
void* operator new(size_t bytes) {
  if (left == 0) throw std::bad_alloc();
  if (left > 0) --left;
  return std::malloc(bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

int main(int, char** arguments) {
  std::atomic<int64_t> sum{0};
  left = std::atoi(arguments[1]);
  fastdist::Threads{8}.loop(1000, 10, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) sum += i;
  });
  left = -1;
  std::printf("%ld", long(sum.load()));
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    folder = tmp_path_factory.mktemp("threads")
    (folder / "program.cpp").write_text(PROGRAM)
    command = ["g++", "-std=c++20", "-O1", "-pthread", "-I", str(ROOT / "csrc"), "program.cpp"]
    subprocess.run([*command, "-o", "program"], cwd=folder, check=True)
    return folder / "program"


@pytest.mark.parametrize("pieces", [1, 2, 5, 100])
def test_without_memory_for_more_threads_the_others_do_the_work(program, pieces):
    done = subprocess.run(
        [str(program), str(pieces)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, str(999 * 1000 // 2)), done.stderr

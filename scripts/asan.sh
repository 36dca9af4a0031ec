#!/usr/bin/env bash
# Runs tests of a provider under AddressSanitizer and UBSan:
#     PY=.venv/bin/python asan.sh extension|emulator [pytest arguments]
#
# In a copy of the package, so that the library in use stays as it is.
set -euo pipefail

provider=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$root/build/asan-$provider
py=$(cd "$(dirname "$PY")" && pwd)/$(basename "$PY")

rm -rf "$copy"
mkdir -p "$copy"
cd "$root"
cp -r fastdist tests pyproject.toml "$copy"
case $provider in
extension)
    FASTDIST_CUDA=0 "$py" scripts/compile_extension.py --sanitize --output "$copy/fastdist/_extension.so"
    tests=(tests/test_edt.py tests/test_edt_axes_order.py tests/test_labels.py tests/test_signed.py tests/test_signed_labels.py tests/test_errors.py)
    ;;
emulator)
    "$py" scripts/compile_emulator.py --sanitize --output "$copy/fastdist/_emulator.so"
    tests=(tests/test_labels.py tests/test_signed_labels.py tests/test_indices.py tests/test_losses.py tests/test_errors.py)
    ;;
esac

# The runtimes come before everything else, libstdc++ with them (or an exception thrown is
# mistaken for a bug); Python and torch never free all they take, so leaks are not looked for.
library() { "${CXX:-g++}" -print-file-name="$1"; }
export LD_PRELOAD="$(library libasan.so) $(library libubsan.so) $(library libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONMALLOC=malloc PYTHONPATH=$copy
export FASTDIST_TEST_PROVIDERS=$provider FASTDIST_REQUIRE_EXTENSION=1
cd "$copy"
exec "$py" -m pytest -q -p no:cacheprovider -m "not slow" "${tests[@]}" "$@"

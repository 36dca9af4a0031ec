#!/usr/bin/env bash
# Creates or brings up to date the environment of `make`:  make_env.sh VENV PYTHON EXTRAS
# (EXTRAS "-": torch alone, without fastdist)
#
# Torch first, and by itself: left to pip's resolver, Linux gets a CUDA build of several GB. A torch
# that is already there is kept, whatever its version; with an NVIDIA GPU the CUDA build is taken,
# and else the CPU build. TORCH_INDEX names another package index to take it from.
set -euo pipefail

venv=$1 python=$2 extras=$3
root=$(cd "$(dirname "$0")/.." && pwd)
pin=$(sed -n 's/^torch==//p' "$root/constraints.txt")

torch_version() { # of an interpreter; nothing where it has none, or one that is too old
    "$1" - 2>/dev/null <<'END' || true
import importlib.metadata
version = importlib.metadata.version("torch")
if tuple(map(int, version.split(".")[:2])) >= (2, 10):
    print(version)
END
}

if [ ! -x "$venv/bin/python" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        { echo "fastdist needs Python 3.10 or newer; $python is $("$python" --version). Say PYTHON=..."; exit 1; }
    share=()
    if [ -n "$(torch_version "$python")" ] &&
        "$python" -c 'import sys; sys.exit(sys.prefix != sys.base_prefix)'; then
        share=(--system-site-packages) # a torch of the machine's own, as containers have it
    fi
    echo "== creating $venv with $("$python" --version)"
    "$python" -m venv "${share[@]}" "$venv"
fi
py=$venv/bin/python

if [ -z "$(torch_version "$py")" ]; then
    install=("$py" -m pip install --quiet)
    if [ -n "${TORCH_INDEX:-}" ]; then
        "${install[@]}" "torch==$pin" --index-url "$TORCH_INDEX"
    elif nvidia-smi -L >/dev/null 2>&1 || [ "$(uname -s)" != Linux ]; then
        "${install[@]}" "torch==$pin"
    else
        echo "== no NVIDIA GPU: installing the CPU build of torch $pin"
        "${install[@]}" "torch==$pin+cpu" 2>/dev/null ||
            "${install[@]}" "torch==$pin" --index-url https://download.pytorch.org/whl/cpu ||
            "${install[@]}" "torch==$pin"
    fi
fi
torch=$(torch_version "$py")
[ "$extras" != - ] || exit 0

# Before pip, which would keep the compiler's words to itself; it finds the objects up to date.
"$py" "$root/scripts/compile_extension.py"

# The constraints with the torch that is really here, so that pip never replaces it. In the
# environment and not only on the command line: isolated builds see them then, too.
constraints=$venv/constraints.txt
sed "s/^torch==.*/torch==$torch/" "$root/constraints.txt" >"$constraints.new"
stamp=$venv/installed-$extras
if [ "$(cat "$stamp" 2>/dev/null)" != "$root" ] || ! cmp -s "$constraints.new" "$constraints" ||
    [ "$root/pyproject.toml" -nt "$stamp" ] || [ "$root/setup.py" -nt "$stamp" ]; then
    mv "$constraints.new" "$constraints"
    echo "== installing fastdist with [$extras] beside torch $torch"
    export PIP_CONSTRAINT=$constraints PIP_BUILD_CONSTRAINT=$constraints
    "$py" -m pip install --quiet -c "$constraints" -e "$root[$extras]"
    echo "$root" >"$stamp"
else
    rm -f "$constraints.new"
fi

#!/usr/bin/env bash
# Layers, formatting, static analysis, shell syntax. Prints only what is wrong; exit 1 then.
set -u
cd "$(dirname "$0")/../.."
failed=0
python3 tests/lint/check_layers.py || failed=1
unformatted=$(git ls-files '*.c' '*.h' | while read -r file; do clang-format --dry-run -Werror "$file" >/dev/null 2>&1 || echo "  $file"; done)
if [ -n "$unformatted" ]; then
    printf 'not formatted (make fmt):\n%s\n' "$unformatted"
    failed=1
fi
for script in $(git ls-files '*.sh' .ci/run); do
    bash -n "$script" || failed=1
done
# The time of a comparison must not tell how much of a secret was guessed.
if git grep -nE '(memcmp|strn?cmp|slice_equal(_nocase)?)\(' -- 'gateway/*.c' | grep -v CRYPTO_memcmp | grep -E 'signature|secret|password'; then
    echo "secrets are compared by slice_equal_secret() or CRYPTO_memcmp()"
    failed=1
fi
[ -f build/compile_commands.json ] || cmake --preset release >/dev/null || exit 1
git ls-files 'gateway/*.c' 'agent/*.c' | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p build --extra-arg=-Wno-ignored-optimization-argument 2>/dev/null > build/clang-tidy.log || failed=1
if grep -q 'error:' build/clang-tidy.log; then
    grep -A3 'error:' build/clang-tidy.log
    failed=1
fi
if [ "$failed" = 0 ]; then echo "lint: clean"; fi
exit "$failed"

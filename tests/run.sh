# ./dev test: sourced by ./dev, which gives root, jobs, setup, build, find_node.
#
# Items are named kind/name; a filter picks those whose name contains it, and only the builds they need are made:
#   structure/...  rules about the repository, format      e2e/FILE     build/release, tests/e2e/FILE.test.mjs
#   unit/ROOM      build/asan, every room with tests           fuzz/NAME    build/asan, corpus replay + 5 s (60 s --long)
#   tsan/ROOM      build/tsan, only rooms that cross threads; those that need the whole program built once more --long only
# Each item leaves a log and one result line in build/test-logs. A skip must say why: "optional: ..." is counted, any
# other skip is a failure. The last line of all is the total.

tsan_rooms=(platform tls)
tsan_rooms_long=(jose signature issuer store observe tokens origins fetch gateway)
logs="build/test-logs"

test_items() {
  local room file
  echo structure/repository
  echo structure/format
  echo structure/leak-detection
  for file in tests/e2e/*.test.mjs; do [ -e "$file" ] && echo "e2e/$(basename "$file" .test.mjs)"; done
  for room in $(rooms); do has_tests "$room" && echo "unit/$room"; done
  for file in tests/fuzz/*_fuzz.cc; do [ -e "$file" ] && echo "fuzz/$(basename "$file" .cc)"; done
  [ "$long" = 0 ] || tsan_rooms+=("${tsan_rooms_long[@]}")
  for room in "${tsan_rooms[@]}"; do has_tests "$room" && echo "tsan/$room"; done
  return 0
}
rooms() { sed -n 's/^set(POSTERN_ROOMS \(.*\))$/\1/p' CMakeLists.txt; }
has_tests() { [ -n "$(find "src/$1" -name '*_test.cc' -print -quit 2>/dev/null)" ]; }

# ---- one item --------------------------------------------------------------------------------------------------

record() {  # record ITEM PASSED FAILED SKIPPED SECONDS
  printf '%s %s %s %s %s\n' "$1" "$2" "$3" "$4" "$5" >"$logs/$1.result"
  local mark=ok
  [ "$3" = 0 ] || mark=FAILED
  printf '  %-6s %-32s %5s passed %3s failed %3s skipped %5ss\n' "$mark" "$1" "$2" "$3" "$4" "$5"
  if [ "$3" != 0 ]; then
    printf '         log: %s\n' "$logs/$1.log"
    failed_names "$logs/$1.log" | head -n 20 | sed 's/^/         /'
  fi
}
failed_names() {
  local names
  names=$(sed -nE 's/^\[  FAILED  \] ([^ ,]+).*/\1/p; s/^ *not ok [0-9]+ - (.*)/\1/p; s/^(required skip: .*)/\1/p; s/^(SUMMARY: .*)/\1/p' "$1" |
    awk '!seen[$0]++')
  if [ -n "$names" ]; then printf '%s\n' "$names"; else tail -n 15 "$1"; fi
}

# GoogleTest: counts finished tests; a crash before the summary is one failure more.
count_gtest() {  # LOG EXIT -> PASSED FAILED SKIPPED
  awk -v code="$2" -v log_file="$1" '
    /^\[ RUN      \]/ { reason = "" }
    /optional: / { reason = $0 }
    /^\[       OK \]/ { passed++ }
    /^\[  FAILED  \] .* \([0-9]+ ms\)$/ { failed++ }
    /^\[  SKIPPED \] .* \([0-9]+ ms\)$/ {
      if (reason != "") skipped++
      else { failed++; print "required skip: " $4 >> log_file }
    }
    END { if (code != 0 && !failed) failed = 1; print passed + 0, failed + 0, skipped + 0 }' "$1"
}
# node --test with the TAP reporter; suites are not counted.
count_tap() {  # LOG EXIT -> PASSED FAILED SKIPPED
  awk -v code="$2" -v log_file="$1" '
    /# SKIP/ && !/# SKIP optional: / { required++; print "required skip: " $0 >> log_file }
    /^# pass / { passed = $3 }
    /^# fail / { failed += $3 }
    /^# cancelled / { failed += $3 }
    /^# skipped / { skipped = $3 }
    END {
      failed += required
      if (code != 0 && !failed) failed = 1
      print passed + 0, failed + 0, skipped - required
    }' "$1"
}

run_gtest() {  # ITEM BINARY
  local code=0
  POSTERN_LONG=$long timeout --kill-after=10 600 "$2" --gtest_color=no >"$logs/$1.log" 2>&1 || code=$?
  counts=$(count_gtest "$logs/$1.log" "$code")
}

run_fuzz() {  # ITEM NAME
  local code=0 seeds="tests/fuzz/corpus/${2%_fuzz}" work="build/fuzz-corpus/$2" seconds=5 longest=()
  [ "$long" = 1 ] && seconds=60
  if [ -z "$(ls -A "$seeds" 2>/dev/null)" ]; then
    echo "no seed corpus in $seeds" >"$logs/$1.log"
    counts="0 1 0"
    return
  fi
  # What comes from the wire comes in more than one read: inputs beyond 64 KiB, too.
  case $2 in h1_* | proxy_header_*) longest=(-max_len=131072) ;; esac
  mkdir -p "$work"
  { timeout --kill-after=10 300 "build/asan/$2" -runs=0 "$seeds" &&
    timeout --kill-after=10 $((seconds + 60)) "build/asan/$2" -max_total_time=$seconds -timeout=10 -rss_limit_mb=2048 "${longest[@]}" \
      -artifact_prefix="$logs/fuzz/" "$work" "$seeds"; } >"$logs/$1.log" 2>&1 || code=$?
  if [ "$code" = 0 ]; then counts="2 0 0"; else counts="0 1 0"; fi
}

run_node_tests() {  # ITEM FILE
  local code=0
  POSTERN_LONG=$long timeout --kill-after=10 "$([ "$long" = 1 ] && echo 1800 || echo 420)" \
    "$node" --test --test-reporter=tap "$2" >"$logs/$1.log" 2>&1 || code=$?
  counts=$(count_tap "$logs/$1.log" "$code")
}

# The format of all C++ code (./dev fmt mends it), and that every script of the tests parses.
run_format_check() {  # ITEM
  local format=1 scripts=1 file
  cpp_files | xargs -r clang-format-19 --dry-run --Werror >"$logs/$1.log" 2>&1 || format=0
  for file in $(find tests bench -name '*.mjs'); do
    "$node" --check "$file" >>"$logs/$1.log" 2>&1 || scripts=0
  done
  counts="$((format + scripts)) $((2 - format - scripts)) 0"
}

# The sanitizer builds are worth nothing if leaks pass unseen (no ptrace, wrong options): prove that one is caught.
run_leak_check() {  # ITEM
  local dir="build/leak-check"
  mkdir -p "$dir"
  printf '#include <stdlib.h>\nvoid* volatile kept;\nint main(void) { kept = malloc(7); kept = 0; return 0; }\n' >"$dir/leak.c"
  if ! clang-19 -g -fsanitize=address "$dir/leak.c" -o "$dir/leak" >"$logs/$1.log" 2>&1; then
    counts="0 1 0"
  elif "$dir/leak" >>"$logs/$1.log" 2>&1; then
    echo "AddressSanitizer did not report the leak" >>"$logs/$1.log"
    counts="0 1 0"
  elif grep -q 'detected memory leaks' "$logs/$1.log"; then
    counts="1 0 0"
  else
    counts="0 1 0"
  fi
}

run_item() {
  local item=$1 name=${1#*/} counts="0 1 0" started=$SECONDS
  case $item in
    structure/repository) run_node_tests "$item" tests/structure/structure.test.mjs ;;
    structure/format) run_format_check "$item" ;;
    structure/leak-detection) run_leak_check "$item" ;;
    e2e/*) run_node_tests "$item" "tests/e2e/$name.test.mjs" ;;
    unit/*) run_gtest "$item" "build/asan/${name}_test" ;;
    tsan/*) run_gtest "$item" "build/tsan/${name}_test" ;;
    fuzz/*) run_fuzz "$item" "$name" ;;
  esac
  # shellcheck disable=SC2086
  record "$item" $counts $((SECONDS - started))
}

# ---- all items -------------------------------------------------------------------------------------------------

run_items() {  # run_items PARALLEL ITEM...
  local parallel=$1 running=0 item
  shift
  for item in "$@"; do
    if [ "$running" -ge "$parallel" ]; then wait -n || true; running=$((running - 1)); fi
    run_item "$item" &
    running=$((running + 1))
  done
  wait
}

target_of() {  # target_of ITEM
  case $1 in
    unit/* | tsan/*) echo "${1#*/}_test" ;;
    fuzz/*) echo "${1#*/}" ;;
    e2e/*) echo postern ;;
  esac
}

# Builds the targets of the items; those that cannot be built fail their items. Leaves the others in `built`.
build_for() {  # build_for KIND ITEM...
  local kind=$1 started=$SECONDS targets=() item
  shift
  built=("$@")
  for item in "$@"; do targets+=("$(target_of "$item")"); done
  printf 'build/%s ...\n' "$kind"
  if build "$kind" -k 0 "${targets[@]}" >"$logs/build-$kind.log" 2>&1; then
    printf 'build/%s done in %ss\n' "$kind" $((SECONDS - started))
    return
  fi
  grep -E -m 5 -A 3 'error:|FAILED:' "$logs/build-$kind.log" || tail -n 15 "$logs/build-$kind.log"
  built=()
  for item in "$@"; do
    if build "$kind" "$(target_of "$item")" >/dev/null 2>&1; then
      built+=("$item")
    else
      cp "$logs/build-$kind.log" "$logs/$item.log"
      record "$item" 0 1 0 0 | head -n 1
    fi
  done
}

# What build_for() will find done, as far as it can be; it says what cannot.
build_ahead() {  # build_ahead KIND ITEM...
  local kind=$1 targets=() item
  shift
  for item in "$@"; do targets+=("$(target_of "$item")"); done
  nice -n 19 "$root/dev" build "$kind" "${targets[@]}" >"$logs/build-$kind-ahead.log" 2>&1
}

run_all() {  # in its own process, under the time guard
  set +e
  local kind built=()
  local -A picked=()
  setup
  node=$(find_node)
  export POSTERN_ROOT="$root" POSTERN_NODE="$node" POSTERN_TEST_LOGS="$root/$logs"
  export ASAN_OPTIONS="abort_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1"
  export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
  export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"
  export ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19 TSAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19
  while read -r item; do
    kind=${item%%/*}
    picked[$kind]+="$item "
  done <"$logs/items"
  # shellcheck disable=SC2086
  {
    run_items 2 ${picked[structure]:-}
    if [ -n "${picked[e2e]:-}" ]; then
      build_for release ${picked[e2e]}
      # These tests wait more than they compute: what is built next is built meanwhile, behind them.
      [ -z "${picked[unit]:-}" ] || build_ahead asan ${picked[unit]} ${picked[fuzz]:-} &
      run_items 2 "${built[@]}"
    fi
    if [ -n "${picked[unit]:-}${picked[fuzz]:-}" ]; then
      build_for asan ${picked[unit]:-} ${picked[fuzz]:-}
      run_items 2 "${built[@]}"
    fi
    if [ -n "${picked[tsan]:-}" ]; then
      build_for tsan ${picked[tsan]}
      run_items 1 "${built[@]}"
    fi
  }
}

run_tests() {
  local filter='' guard=1770 child code=0 item
  long=0
  while [ $# -gt 0 ]; do
    case $1 in
      --long) long=1; guard=7200 ;;
      --list) test_items; return ;;
      --inside) shift; long=$1; run_all; return ;;
      -*) die "test knows --long and --list, not $1" ;;
      *) filter=$1 ;;
    esac
    shift
  done
  rm -rf "$logs"
  mkdir -p "$logs"/{structure,e2e,unit,fuzz,tsan}
  test_items | grep -F -- "$filter" >"$logs/items" || die "no test named like '$filter'; ./dev test --list names them"
  # The guard kills a hang anywhere; what has not finished by then counts as failed below.
  timeout --kill-after=20 "$guard" "$root/dev" test --inside "$long" &
  child=$!
  trap 'kill -TERM $child 2>/dev/null; wait $child; exit 130' INT TERM
  wait "$child" || code=$?
  trap - INT TERM
  [ "$code" != 124 ] || say "stopped by the time guard of $guard s"
  while read -r item; do
    [ -e "$logs/$item.result" ] && continue
    say "  FAILED $item did not finish"
    echo "$item 0 1 0 0" >"$logs/$item.result"
  done <"$logs/items"
  report_skips
  find "$logs" -name '*.result' -exec cat {} + |
    awk '{ p += $2; f += $3; s += $4 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }'
}

report_skips() {
  find "$logs" -name '*.log' ! -name 'build-*' -exec grep -hoE '(# SKIP )?optional: .*' {} + 2>/dev/null |
    sed 's/^# SKIP //; s/^/  skipped: /' | sort | uniq -c || true
}

#!/bin/sh
# Merge some files into one, by a plain copy, by mergecap and by moontap without and with a
# hook on every packet; compare time and memory.  Makes its own input in a tmpfs folder.
#
#   bench/merge.sh [--packets N] [--files N] [--snaplen N] [--mean-size N] [--random-order] [--rounds N]
#
# MOONTAP_BENCH_DIR: where the files go (default /dev/shm; 3 times the input must fit).
# MOONTAP: the program (default ./moontap).  Exit status 1: an output differs or a target is missed.
set -eu
cd "$(dirname "$0")/.."

packets=10000000 files=4 snaplen=64 mean_size=750 rounds=5 order=
while [ $# -gt 0 ]; do
	case $1 in
	--random-order) order=--random-order; shift; continue ;;
	--help | -h) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
	--packets | --files | --snaplen | --mean-size | --rounds) ;;
	*) echo "merge.sh: unknown option $1 (--help lists them)" >&2; exit 1 ;;
	esac
	[ $# -gt 1 ] || { echo "merge.sh: $1 needs a number" >&2; exit 1; }
	case $2 in
	'' | *[!0-9]* | 0) echo "merge.sh: $1: expected a number from 1, found \"$2\"" >&2; exit 1 ;;
	esac
	case $1 in
	--packets) packets=$2 ;;
	--files) files=$2 ;;
	--snaplen) snaplen=$2 ;;
	--mean-size) mean_size=$2 ;;
	--rounds) rounds=$2 ;;
	esac
	shift 2
done

moontap=${MOONTAP:-./moontap}
for program in "$moontap" mergecap capinfos dd cmp /usr/bin/time; do
	command -v "$program" >/dev/null || { echo "merge.sh: $program is not there" >&2; exit 1; }
done
mkdir -p build
${CC:-cc} -O2 -std=c11 -D_GNU_SOURCE -o build/generate bench/generate.c

dir=$(mktemp -d "${MOONTAP_BENCH_DIR:-/dev/shm}/moontap-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

captured=$((snaplen < mean_size ? snaplen : mean_size))
need=$((packets * (captured + 16) * 3 / 1024))
free=$(df -Pk "$dir" | awk 'NR == 2 { print $4 }')
if [ "$free" -lt "$need" ]; then
	echo "merge.sh: $dir has $((free / 1024)) MiB free, $((need / 1024)) MiB are needed (MOONTAP_BENCH_DIR)" >&2
	exit 1
fi

# shellcheck disable=SC2086
build/generate --packets "$packets" --files "$files" --snaplen "$snaplen" --mean-size "$mean_size" $order --dir "$dir"
inputs=$(for i in $(seq "$files"); do echo "$dir/$i.pcap"; done) # no spaces in these
bytes=$(du -bc "$dir"/*.pcap | awk 'END { print $1 }')
echo "$packets packets in $files files, $((bytes / 1000000)) MB, captured length up to $snaplen, $rounds rounds in $dir"

copy() { # the bytes alone
	for input in $inputs; do
		dd bs=256K if="$input" of="$dir/out.copy" oflag=append conv=notrunc status=none || return 1
	done
}

# measure NAME COMMAND...: adds "seconds KiB" to $dir/NAME.times
measure() {
	name=$1
	shift
	start=$(date +%s%N)
	if [ "$name" = copy ]; then
		copy || exit 1
		echo 0 >"$dir/rss"
	elif ! /usr/bin/time -o "$dir/rss" -f %M "$@" >"$dir/$name.log" 2>&1; then
		echo "merge.sh: $* failed:" >&2
		cat "$dir/$name.log" >&2
		exit 1
	fi
	end=$(date +%s%N)
	echo "$(((end - start) / 1000)) $(tail -n 1 "$dir/rss")" >>"$dir/$name.times"
}

count() {
	capinfos -Mc "$1" | awk '/Number of packets/ { print $NF }'
}

# check NAME: the output has every packet, and the bytes of mergecap's behind the file header
check() {
	found=$(count "$dir/out.$1")
	if [ "$found" != "$packets" ]; then
		echo "merge.sh: the output of $1 has $found packets instead of $packets" >&2
		exit 1
	fi
	if ! cmp -i 24 "$dir/out.mergecap" "$dir/out.$1"; then
		echo "merge.sh: the outputs of mergecap and $1 differ" >&2
		exit 1
	fi
}

for round in $(seq "$rounds"); do
	measure copy
	rm "$dir/out.copy"
	# shellcheck disable=SC2086
	measure mergecap mergecap -F pcap -w "$dir/out.mergecap" $inputs
	[ "$round" -gt 1 ] || check mergecap
	# shellcheck disable=SC2086
	measure plain "$moontap" -q --format pcap -o "$dir/out.plain" $inputs
	[ "$round" -gt 1 ] || check plain
	rm "$dir/out.plain"
	# shellcheck disable=SC2086
	measure hook "$moontap" -q --format pcap -l bench/hook.lua -o "$dir/out.hook" $inputs
	[ "$round" -gt 1 ] || check hook
	rm "$dir/out.hook" "$dir/out.mergecap"
done

# median FILE COLUMN
median() {
	awk -v column="$2" '{ print $column }' "$1" | sort -n | awk '
		{ value[NR] = $1 }
		END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'
}

reference=$(median "$dir/mergecap.times" 1)
limit=$(median "$dir/copy.times" 1)
printf '\n%-24s %9s %8s %12s %14s %10s\n' '' '' '' '' 'speed to' 'time to'
printf '%-24s %9s %8s %12s %14s %10s\n' program 'median s' Mpps 'peak memory' mergecap copy
for name in copy mergecap plain hook; do
	case $name in
	copy) label='dd bs=256K' ;;
	mergecap) label='mergecap -F pcap' ;;
	plain) label='moontap' ;;
	hook) label='moontap, hook' ;;
	esac
	us=$(median "$dir/$name.times" 1)
	rss=$(awk '$2 > max { max = $2 } END { print max + 0 }' "$dir/$name.times")
	awk -v label="$label" -v us="$us" -v rss="$rss" -v n="$packets" -v ref="$reference" -v copy="$limit" 'BEGIN {
		memory = rss ? sprintf("%.1f MB", rss * 1024 / 1e6) : "-"
		printf "%-24s %9.3f %8.1f %12s %14.2f %10.2f\n", label, us / 1e6, n / us, memory, ref / us, us / copy }'
done
echo

# target TEXT VALUE OPERATOR LIMIT
missed=0
target() {
	if awk -v value="$2" -v limit="$4" -v operator="$3" 'BEGIN {
		exit !(operator == "<" ? value < limit : value >= limit) }'; then
		echo "yes  $1"
	else
		echo "NO   $1"
		missed=1
	fi
}
ratio() {
	awk -v a="$reference" -v b="$(median "$dir/$1.times" 1)" 'BEGIN { print a / b }'
}
peak=$(cat "$dir/plain.times" "$dir/hook.times" | awk '$2 > max { max = $2 } END { print max * 1024 / 1e6 }')
target "at least 3 x mergecap without a script: $(ratio plain)" "$(ratio plain)" '>=' 3
target "at least 2 x mergecap with a hook: $(ratio hook)" "$(ratio hook)" '>=' 2
target "less than 64 MB of memory: $peak" "$peak" '<' 64
exit $missed

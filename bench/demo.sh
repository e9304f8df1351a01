#!/bin/sh
# What moontap does, in four commands: captures of different formats, merged in time order
# through scripts, into rotated and named segments.  Run by "make demo"; writes ./demo/.
set -eu
cd "$(dirname "$0")/.."

moontap=${MOONTAP:-./moontap}
in=spec/fixtures
rm -rf demo
mkdir demo

run() { # print the command as it would be typed, then run it
	printf '\n$'
	for word in "$@"; do
		case $word in
		*[!A-Za-z0-9_./,=:%{}+-]* | *[%{}]*) printf " '%s'" "$word" ;;
		*) printf ' %s' "$word" ;;
		esac
	done
	printf '\n'
	"$@"
}

echo "Six captures of one web server: pcap in microseconds and nanoseconds, pcapng of two interfaces, ERF,"
echo "VLAN-tagged, gzip. What is in them?"
run "$moontap" $in/web.pcap $in/ping.ns.pcap $in/two-interfaces.pcapng $in/dns.erf $in/vlan.pcap $in/dns.pcap.gz

echo
echo "Merge two into one file; only DNS is kept:"
run "$moontap" -e 'p.sport == 53 or p.dport == 53' -o demo/dns.pcapng $in/web.pcap $in/two-interfaces.pcapng
run "$moontap" -l top,by=source,proto,sort=packets demo/dns.pcapng

echo
echo "All of them in time order through a script of our own (bench/demo.lua) and a recipe, into compressed"
echo "segments of one second and at most 16 KiB:"
run "$moontap" -B demo/segments -U -G 1 -S 16K --name '%H%M%S-%{seq}.pcapng.gz' \
	-l top,by=src,dport,n=8 -l bench/demo.lua \
	$in/web.pcap $in/ping.ns.pcap $in/two-interfaces.pcapng $in/dns.erf $in/vlan.pcap $in/dns.pcap.gz

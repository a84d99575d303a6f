#!/bin/sh
# Rebuilds the objects beside the sources. CLANG must be 19 or later (enum64, type_matches).
set -e
cd "$(dirname "$0")"
: "${CLANG:=clang-19}" "${STRIP:=llvm-strip-19}"
for source in *.bpf.c; do
	name=${source%.bpf.c}
	flags="-target bpf -g -O2 -Wall -Wno-int-to-pointer-cast -Wno-int-conversion -ffile-prefix-map=$PWD=."
	"$CLANG" $flags -c "$source" -o "$name.bpf.o"
	"$CLANG" $flags -DTARGET -c "$source" -o "$name.target.o"
	"$STRIP" -g "$name.bpf.o" "$name.target.o"
done

#!/bin/sh
# SPDX-License-Identifier: ISC
# deps.sh GROUP...: sees to it that the packages of these groups (libs check lint valgrind fuzz) are
# installed. Nothing missing: nothing done, no network. Debian and its kin: installed as root, or by
# sudo if that asks no password; else the one command is printed, and it fails. Other systems: says
# what is missing. Never installs anything that is not in the lists below.
set -eu

# Of alternatives (a|b) one is enough, the first is installed.
packages_of() {
	case $1 in
	libs) echo "pkg-config|pkgconf libbsd-dev libconfig-dev libevent-dev libjansson-dev liblmdb-dev libxxhash-dev" ;;
	check) echo "check" ;;
	lint) echo "clang-format clang-tidy mandoc shellcheck" ;;
	valgrind) echo "valgrind" ;;
	fuzz) echo "clang libclang-rt-dev" ;;
	*) echo "deps: unknown group '$1'; there are: libs check lint valgrind fuzz" >&2 && return 1 ;;
	esac
}

# The same for systems without dpkg-query: pkg-config modules, and programs behind a colon.
modules_of() {
	case $1 in
	libs) echo "libbsd libconfig libevent_core jansson lmdb libxxhash" ;;
	check) echo "check" ;;
	lint) echo ":clang-format :clang-tidy :mandoc :shellcheck" ;;
	valgrind) echo ":valgrind" ;;
	fuzz) echo ":clang" ;;
	esac
}

is_installed() {
	for name in $(echo "$1" | tr '|' ' '); do
		case $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) in
		?i*) return 0 ;;
		esac
	done
	return 1
}

is_there() {
	case $1 in
	:*) command -v "${1#:}" >/dev/null ;;
	*) "${PKG_CONFIG:-pkg-config}" --exists "$1" ;;
	esac
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

install_packages() {
	command="apt-get install -y --no-install-recommends $*"
	if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
		echo "deps: missing: $*; install with: sudo $command" >&2
		return 1
	fi
	echo "deps: installing $*" >&2
	as_root apt-get update -qq >&2 || echo "deps: apt-get update failed; trying with the lists there are" >&2
	# shellcheck disable=SC2086 # the words of the command
	as_root env DEBIAN_FRONTEND=noninteractive $command >&2 || {
		echo "deps: '$command' failed" >&2
		return 1
	}
}

missing=
for group in "$@"; do
	packages=$(packages_of "$group")
	if command -v dpkg-query >/dev/null; then
		for package in $packages; do
			is_installed "$package" || missing="$missing ${package%%|*}"
		done
	elif ! command -v "${PKG_CONFIG:-pkg-config}" >/dev/null; then
		echo "deps: pkg-config is missing" >&2
		exit 1
	else
		for module in $(modules_of "$group"); do
			is_there "$module" || missing="$missing ${module#:}"
		done
	fi
done
[ -n "$missing" ] || exit 0
if command -v dpkg-query >/dev/null; then
	# shellcheck disable=SC2086 # a list of words
	install_packages $missing || exit 1
else
	echo "deps: missing:$missing; please install the development packages that hold them" >&2
	exit 1
fi

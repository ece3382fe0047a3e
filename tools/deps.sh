#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the system packages that the lab and the tests need, on Debian and
# Ubuntu as root; elsewhere it says what to install. It does nothing, quickly,
# when all is there. `deps.sh image` adds a tool that assembles images.
set -euo pipefail

# command:package; the command is what counts where dpkg is not the judge.
wanted=(
	ip:iproute2 nft:nftables arping:iputils-arping ndisc6:ndisc6 tcpdump:tcpdump
	gcc:gcc # the race detector links with it
	update-ca-certificates:ca-certificates
	vtysh:frr birdc:bird2 # routers
)
headers=/usr/include/stdlib.h # libc6-dev, without which gcc links nothing
if [ "${1:-}" = image ]; then
	wanted=(buildah:buildah)
	if command -v podman >/dev/null || docker info >/dev/null 2>&1; then exit 0; fi
fi

PATH=$PATH:/usr/sbin:/sbin:/usr/lib/frr
commands=() packages=()
for pair in "${wanted[@]}"; do
	if ! command -v "${pair%%:*}" >/dev/null; then
		commands+=("${pair%%:*}") packages+=("${pair##*:}")
	fi
done
if [ ! -e "$headers" ] && [ "${1:-}" != image ]; then
	commands+=("$headers") packages+=(libc6-dev)
fi
if [ ${#packages[@]} = 0 ]; then
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "deps: install what provides these commands: ${commands[*]} (Debian's packages: ${packages[*]})" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "deps: not root; run: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
	exit 1
fi

# Debian starts the daemons of the packages it installs; the lab starts its own,
# each in a namespace, and this machine's routing is none of its business.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
fi
echo "deps: installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null
for daemon in frr bird; do
	if [[ " ${packages[*]} " == *" $daemon"* ]] && [ -d /run/systemd/system ]; then
		systemctl disable --quiet "$daemon" # nor at the next boot
	fi
done

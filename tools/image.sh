#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Assembles the image from bin/controller and bin/speaker on an empty base and
# writes it to out/herald.tar as well, for `ctr images import` and for
# `kind load image-archive`. Takes IMAGE and VERSION from the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in buildah podman docker none; do
	if "$tool" info >/dev/null 2>&1; then break; fi # docker's may have no daemon
done
if [ "$tool" = none ]; then
	echo "image: neither buildah, podman nor docker works here" >&2
	exit 1
fi

root=bin/image
rm -rf $root
mkdir -p $root/etc/ssl/certs out
cp bin/controller bin/speaker $root/
cp /etc/ssl/certs/ca-certificates.crt $root/etc/ssl/certs/

archive=out/herald.tar
rm -f $archive
"$tool" build --target prebuilt --build-arg "VERSION=$VERSION" -t "$IMAGE" .
if [ "$tool" = buildah ]; then
	buildah push --quiet "$IMAGE" "docker-archive:$archive:$IMAGE"
else
	"$tool" save -o $archive "$IMAGE"
fi
rm -rf $root
printf '%s: %s MB, also in %s\n' "$IMAGE" "$(($(stat -c %s $archive) / 1000000))" $archive

#!/usr/bin/env bash
# Runs the Blender inside a Debian tree: make gui-test BLENDER=scripts/dev/blender_in_tree.sh
#
# BLENDER_TREE is the folder of the tree. /proc, /dev and /tmp of this machine are mounted in it, only for this Blender
# and only until it ends. Needs root. These commands make a tree with Blender 5.2, or with 4.3 if you replace sid by
# trixie. They take about 5 minutes and 2 GB:
#
#     debootstrap --variant=minbase sid TREE http://deb.debian.org/debian
#     chroot TREE apt-get install --yes --no-install-recommends blender libgl1 libgl1-mesa-dri libegl1 libegl-mesa0 \
#         libglx-mesa0 python3-numpy python3-cattr python3-requests python3-zstandard
set -euo pipefail

tree=${BLENDER_TREE:?Set BLENDER_TREE to the folder of a Debian tree with Blender}
[ -x "$tree/usr/bin/blender" ] || { echo "$tree has no /usr/bin/blender. Install the package blender in it." >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "Only root can enter $tree. Run this as root." >&2; exit 1; }

exec unshare --mount --propagation private bash -c '
    set -e
    tree=$1
    shift
    mount -t proc proc "$tree/proc"
    mount --bind /dev "$tree/dev"
    mount --bind /tmp "$tree/tmp"
    exec chroot "$tree" blender "$@"
' blender "$tree" "$@"

// SPDX-License-Identifier: Apache-2.0

// Package bgp has the stories about BGP: what users want of it, told against two routers,
// FRR and BIRD, and judged from the routers' own tables and by a client beyond them.
//
// One cluster serves all stories, of topology bgp.clab.yml. Each story has a namespace,
// peers and advertisements of its own, which go when it ends. The programs are those in
// bin/, or in the folder that HERALD_BIN names. Stories need root, and Debian's packages
// frr and bird2; without them they are skipped.
package bgp

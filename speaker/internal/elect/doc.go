// SPDX-License-Identifier: Apache-2.0

// Package elect decides which node owns an address, by rendezvous hashing (highest
// random weight, Thaler and Ravishankar 1998): every candidate gets a weight from
// its name and the election's key, and the heaviest one wins.
//
// Speakers that see the same candidates therefore name the same owner without
// talking to each other. A node that leaves loses only the addresses it owned; a
// node that joins takes only the addresses it wins, from everybody alike.
//
// By itself a weight gives each node about its share of many keys. [Spread] makes it no
// more than 1.25 times the share, rounded up, also of few.
//
// The weights are part of Herald's contract between releases: during a rolling
// upgrade old and new speakers must agree. Golden tests hold them.
//
// The package is pure: no clock, no I/O, no goroutines, and no allocation in an
// election of one address.
package elect

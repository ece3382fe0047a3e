// SPDX-License-Identifier: Apache-2.0

// Package gossip knows which speakers are alive. It is the adapter to memberlist
// (SWIM with Lifeguard: random probes, suspicion, rumours), and the only package
// that imports it.
//
// A member is a speaker, named as its node. Speakers find each other through the
// addresses of the Node objects, which the shell passes in ([Members.SetPeers]);
// those that are missing are asked again and again, so that a healed partition
// heals here too.
//
// Gossip decides about liveness and nothing else: it knows no addresses to announce,
// no Services, no owners. A member that is no Node is a member all the same; it is
// the plan that ignores it.
//
// # Facts
//
// What speakers say about themselves ([Facts]) travels with membership: a change as a
// rumour, everything when two members exchange all they know, which they do when they
// meet, when the answer to a probe shows that they know different things, and now and
// then. What it means is no business of this package.
//
// # Encryption
//
// Messages are encrypted and authenticated with AES-256-GCM. The key is derived with
// HKDF-SHA-256 from the file secretkey, which is a Secret that all speakers mount.
// MetalLB uses the first bytes of the Secret as they are; nothing is lost by doing
// better, because speakers of the two never gossip with each other: each ignores
// packets without its label.
//
// A changed file is a new key, and is introduced without losing a member: it is first
// accepted, then used, then the old one is dropped, with two minutes between the
// steps because each kubelet notices the changed Secret when it likes. A speaker that
// starts in those four minutes knows the new key only and stays alone until the
// others use it: change the Secret when nothing else is going on.
//
// # Goroutines
//
// New starts nothing. [Members.Run] owns four goroutines of its own (joining, seeking,
// settling, key rotation) and those of memberlist, and returns after its own have
// ended; of memberlist's a few may still run into their timeouts, a second at most.
package gossip

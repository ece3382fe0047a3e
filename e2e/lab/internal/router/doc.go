// SPDX-License-Identifier: Apache-2.0

// Package router runs the machine's FRR in a namespace, with a configuration of
// its own, as a container made from FRR's image would.
//
// It owns the mount namespace in which /etc/frr and /run are private, the choice
// of daemons from the file "daemons", and the loading of frr.conf. It must not
// know what is configured.
//
// Goroutines: Router.Run has one for each daemon and one that loads the
// configuration; all end before it returns.
package router

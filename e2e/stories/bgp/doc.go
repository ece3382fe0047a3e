// SPDX-License-Identifier: Apache-2.0

// Package bgp has the stories about BGP: what users want of it, told against two routers,
// FRR and BIRD, and judged from the routers' own tables and by a client beyond them.
//
// One cluster serves all stories, of topology bgp.clab.yml. Each story has a namespace,
// peers and advertisements of its own, which go when it ends. The programs are those in
// bin/, or in the folder that HERALD_BIN names. Stories need root, and Debian's packages
// frr and bird2; without them they are skipped.
//
// # What is told where
//
// Both families are judged everywhere, and both routers unless it says otherwise.
//
//	a Service, of IPv4, IPv6 and both, over sessions
//	  of either family or of both; ServiceBGPStatus, Events  TestServiceOnEveryRouter
//	externalTrafficPolicy Local                              TestTrafficPolicyLocal
//	NetworkUnavailable, excluded nodes                       TestNodesThatMayNot
//	shared addresses                                         TestSharedAddress
//	pools by range and prefix, by selector, by annotation    TestPools
//	one Service by Layer 2 and BGP                           TestBothProtocols
//	communities, large ones, names of them; live changes     TestAttributes
//	aggregates, live changes, several Services in one        TestAggregates
//	LOCAL_PREF for internal peers only, live changes,
//	  conflicts; dynamicASN                                  TestInternalPeers, TestInternalPeerBIRD
//	peers of advertisements                                  TestPeerSelector
//	nodes of advertisements, following labels                TestNodeSelector
//	nodes of peers, with AS numbers of their own             TestPeersOfNodes
//	Services of advertisements, that meet and split          TestServiceSelector
//	AS numbers of four octets, localASN, routerID, source    TestSystems
//	hold time, keepalive, capability of graceful restart     TestTimers (FRR)
//	peers one by one; two for one address                    TestPeersOneByOne
//	objects of v1beta1                                       TestOlderVersion
//	passwords, Secrets, rotation                             TestPasswords
//	TTL security                                             TestTTLSecurity
//	unnumbered peers, with BFD and next hops of RFC 8950     TestUnnumbered
//	VRF, as the binding to a device                          TestDevice
//	several hops, with BFD and a least TTL                   TestMultihop (BIRD), TestMultihopFRR
//	BFD profiles: defaults, all settings, passive; metrics   TestBFDProfile
//	BFD's echo function                                      TestEcho (BIRD has none)
//	shares of a client; a node cut off, with BFD             TestNodeCutOff
//	  and without                                            TestNodeCutOffWithoutBFD
//	graceful restart: no request and no route is lost        TestGracefulRestart
//	graceful leave (RFC 8326): no request is lost            TestGracefulLeave
//	received routes are refused, and counted                 TestReceivedRoutes, TestFullTable
//	routers that refuse, fail, restart or send nonsense      fault_test.go
//	what is amiss with sessions, in ServiceBGPStatus         TestSessionsInStatuses
//
// # Time
//
// Routers, and in stories about milliseconds speakers, go before other processes, as they
// would on machines of their own. What a client bears is measured by the client. A trial
// in which its own timers were late says nothing about anybody, and is repeated.
package bgp

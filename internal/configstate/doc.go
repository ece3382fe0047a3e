// SPDX-License-Identifier: Apache-2.0

// Package configstate keeps the ConfigurationState of one component: the one object in
// which it says what it makes of the whole configuration. The controller has one, each
// speaker has one, and both write it in the same way.
//
// It owns that object and nothing else: what is wrong it is told, as lb.Problems, and
// which of them concern the component is for the component to say.
//
// New starts nothing. [State.Run] has two goroutines, the informer of the object and the
// one that writes, and returns after they have ended.
package configstate

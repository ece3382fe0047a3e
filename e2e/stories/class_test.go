// SPDX-License-Identifier: Apache-2.0

package stories

import "testing"

// With --lb-class the controller serves Services of that class, and no others: not even
// those without any.
func TestClassMatch(t *testing.T) {
	const class = "example.com/herald"
	s := begin(t)
	p := s.givenPool(ipv4)
	s.givenService("ours", ipv4, ofClass(class))
	s.expectUntouched("ours")

	s.givenControllerFlag("--lb-class=" + class)
	addrs := s.expectAssigned("ours", p)
	s.givenService("foreign", ipv4, ofClass("example.com/other"))
	s.givenService("classless", ipv4)
	s.givenService("later", ipv4, ofClass(class))
	s.expectAddresses("later", p.addrs(1))
	s.checkUntouched("foreign")
	s.checkUntouched("classless")
	s.expectAddresses("ours", addrs)
}

// givenControllerFlag runs the controllers with one more flag until the story ends.
func (s *story) givenControllerFlag(flag string) {
	s.Helper()
	const args = "/spec/template/spec/containers/0/args"
	patch := func(operation string) {
		s.Helper()
		s.kubectl("-n", heraldNS, "patch", "deployment/controller", "--type=json", "-p", "["+operation+"]")
		s.awaitRollout("deployment/controller")
	}
	s.afterwards(func() { patch(`{"op":"remove","path":"` + args + `/0"}`) })
	patch(`{"op":"add","path":"` + args + `/0","value":"` + flag + `"}`)
}

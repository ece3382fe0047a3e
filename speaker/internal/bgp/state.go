// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net/netip"
	"time"
)

// State is a state of the machine in RFC 4271, 8.2.2.
type State uint8

// The states there are.
const (
	Idle State = iota
	Connect
	Active
	OpenSent
	OpenConfirm
	Established
)

func (s State) String() string {
	names := [...]string{"Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("State(%d)", s)
}

// Session is what there is to say about a peer at one moment.
type Session struct {
	Peer  Peer
	State State
	// Since is when State began.
	Since time.Time
	// RemoteASN is the peer's number, once it has said it. Zero before that.
	RemoteASN uint32
	// RemoteID is the peer's BGP Identifier. Invalid before it has said it.
	RemoteID netip.Addr
	// Remote is the address that the peer is dialled at, of an unnumbered peer the one it
	// was found at. Invalid while it is not dialled.
	Remote netip.Addr
	// Local is the address that the session is opened from. Invalid before it is up.
	Local netip.Addr
	// Families are those that both sides want. Zero unless Established.
	Families Families
	// LastNotification is the last NOTIFICATION of either side.
	LastNotification Notification
	// Held is why the peer is kept down, from Hold. Empty if it is not.
	Held string
	// Problem is what keeps the peer from being dialled, or some routes from being
	// advertised to it. Nil if nothing does.
	Problem error
	// Advertised is how many routes the peer has or gets once it is up; Pending is how
	// many differences there are to what it should have.
	Advertised, Pending int
}

// Notification is a NOTIFICATION message (RFC 4271, 4.5).
type Notification struct {
	// Time is zero if there was none.
	Time time.Time
	// Received says that the peer sent it; otherwise it was us.
	Received bool
	// Code and Subcode are those of RFC 4271 and RFC 4486.
	Code, Subcode uint8
	// Detail is what was wrong with a message of the peer's, for humans. Empty if that is
	// not what it was about.
	Detail string
	// Communication is what a human at the other end had to say (RFC 9003).
	Communication string
}

// String says it in the words of the RFCs. It is empty if there was none.
func (n Notification) String() string {
	if n.Time.IsZero() {
		return ""
	}
	direction := "sent"
	if n.Received {
		direction = "received"
	}
	text := direction + " " + notificationWords(n.Code, n.Subcode)
	if n.Detail != "" {
		text += " (" + n.Detail + ")"
	}
	if n.Communication != "" {
		text += fmt.Sprintf(": %q", n.Communication)
	}
	return text
}

// notificationWords says a NOTIFICATION in the words of RFC 4271, 4.5.
func notificationWords(code, subcode uint8) string {
	name, subcodes := notificationCode(code)
	switch {
	case name == "":
		return fmt.Sprintf("NOTIFICATION %d/%d", code, subcode)
	case subcode == 0:
		return name
	case int(subcode) <= len(subcodes) && subcodes[subcode-1] != "":
		return name + ", " + subcodes[subcode-1]
	}
	return fmt.Sprintf("%s, subcode %d", name, subcode)
}

// notificationCode returns the name of a code, and those of its subcodes from 1.
func notificationCode(code uint8) (name string, subcodes []string) {
	switch code {
	case 1:
		return "Message Header Error", []string{
			"Connection Not Synchronized", "Bad Message Length", "Bad Message Type",
		}
	case 2: // 7: RFC 5492; 11: RFC 9234
		return "OPEN Message Error", []string{
			"Unsupported Version Number", "Bad Peer AS", "Bad BGP Identifier", "Unsupported Optional Parameter",
			"Authentication Failure", "Unacceptable Hold Time", "Unsupported Capability", "", "", "", "Role Mismatch",
		}
	case 3:
		return "UPDATE Message Error", []string{
			"Malformed Attribute List", "Unrecognized Well-known Attribute", "Missing Well-known Attribute",
			"Attribute Flags Error", "Attribute Length Error", "Invalid ORIGIN Attribute", "AS Routing Loop",
			"Invalid NEXT_HOP Attribute", "Optional Attribute Error", "Invalid Network Field", "Malformed AS_PATH",
		}
	case 4:
		return "Hold Timer Expired", nil
	case 5: // RFC 6608
		return "Finite State Machine Error", []string{
			"Unexpected Message in OpenSent State", "Unexpected Message in OpenConfirm State",
			"Unexpected Message in Established State",
		}
	case codeCease: // RFC 4486; 9: RFC 8538; 10: RFC 9384
		return "Cease", []string{
			"Maximum Number of Prefixes Reached", "Administrative Shutdown", "Peer De-configured",
			"Administrative Reset", "Connection Rejected", "Other Configuration Change",
			"Connection Collision Resolution", "Out of Resources", "Hard Reset", "BFD Down",
		}
	case 7: // RFC 7313
		return "ROUTE-REFRESH Message Error", []string{"Invalid Message Length"}
	}
	return "", nil
}

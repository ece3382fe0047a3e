// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Sizes of messages (RFC 4271, 4). Extended messages (RFC 8654) are not offered.
const (
	headerLength  = 19
	markerLength  = 16
	longestLength = 4096
)

// Types of messages (RFC 4271, 4.1; RFC 2918).
const (
	typeOpen         = 1
	typeUpdate       = 2
	typeNotification = 3
	typeKeepalive    = 4
	typeRefresh      = 5
	// typesCount is for tables indexed by type; the first entry is not used.
	typesCount = 6
)

// Error codes and subcodes of NOTIFICATIONs (RFC 4271, 4.5; RFC 5492; RFC 6608; RFC
// 7313).
const (
	codeHeader             = 1
	headerNotSynchronized  = 1
	headerBadLength        = 2
	headerBadType          = 3
	codeOpen               = 2
	openVersion            = 1
	openBadPeerAS          = 2
	openBadIdentifier      = 3
	openParameter          = 4
	openHoldTime           = 6
	openCapability         = 7
	codeUpdate             = 3
	updateAttributeList    = 1
	updateOptional         = 9
	updateNetworkField     = 10
	codeFSM                = 5 // its subcodes are those of the state: 1 OpenSent, 2 OpenConfirm, 3 Established
	codeRefresh            = 7
	refreshLength          = 1
	codeCease              = 6
	ceaseShutdown          = 2
	ceaseDeconfigured      = 3
	ceaseReset             = 4
	ceaseOtherChange       = 6
	ceaseBFDDown           = 10
	longestCommunication   = 255 // RFC 9003, 2
	notificationLeast      = headerLength + 2
	openLeast              = headerLength + 10
	updateLeast            = headerLength + 4
	refreshLengthOfMessage = headerLength + 4
)

// messageError is what is wrong with a message, and what the peer is told of it.
type messageError struct {
	code, subcode byte
	data          []byte
	// detail says it for humans.
	detail string
}

func (e *messageError) Error() string {
	return notificationWords(e.code, e.subcode) + " (" + e.detail + ")"
}

// malformed makes one without data.
func malformed(code, subcode byte, format string, args ...any) *messageError {
	return &messageError{code: code, subcode: subcode, detail: fmt.Sprintf(format, args...)}
}

// message is one message, header included. It is valid until the next is read.
type message []byte

func (m message) kind() byte { return m[headerLength-1] }

func (m message) body() []byte { return m[headerLength:] }

// newMessage frames a body.
func newMessage(kind byte, body []byte) message {
	m := slices.Repeat([]byte{0xff}, markerLength)
	m = binary.BigEndian.AppendUint16(m, uint16(headerLength+len(body)))
	return append(append(m, kind), body...)
}

// newNotification returns the NOTIFICATION message that says so.
func newNotification(code, subcode byte, data []byte) message {
	data = data[:min(len(data), longestLength-notificationLeast)]
	return newMessage(typeNotification, slices.Concat([]byte{code, subcode}, data))
}

// readMessage reads one message, whose buffer is that of r. An error is a *messageError
// if the peer is to be told, else the connection is over.
func readMessage(r *bufio.Reader) (message, error) {
	head, err := r.Peek(headerLength)
	if err != nil {
		return nil, cutShort(r, err)
	}
	length, bad := checkHeader(head)
	if bad != nil {
		return nil, bad
	}
	m, err := r.Peek(length)
	if err != nil {
		return nil, cutShort(r, err)
	}
	if _, err := r.Discard(length); err != nil {
		return nil, fmt.Errorf("read a message: %w", err)
	}
	return m, nil
}

// cutShort tells an end between messages from one within.
func cutShort(r *bufio.Reader, err error) error {
	if r.Buffered() > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read a message: %w", err)
}

// checkHeader returns the length of the message (RFC 4271, 6.1).
func checkHeader(head []byte) (int, *messageError) {
	for _, b := range head[:markerLength] {
		if b != 0xff {
			return 0, malformed(codeHeader, headerNotSynchronized, "a marker is not all ones")
		}
	}
	field := head[markerLength : markerLength+2]
	length, kind := int(binary.BigEndian.Uint16(field)), head[headerLength-1]
	badLength := func() (int, *messageError) {
		e := malformed(codeHeader, headerBadLength, "a message of type %d is %d bytes long", kind, length)
		e.data = slices.Clone(field)
		return 0, e
	}
	if length < headerLength || length > longestLength {
		return badLength()
	}
	switch kind {
	case typeOpen:
		if length < openLeast {
			return badLength()
		}
	case typeUpdate:
		if length < updateLeast {
			return badLength()
		}
	case typeNotification:
		if length < notificationLeast {
			return badLength()
		}
	case typeKeepalive:
		if length != headerLength {
			return badLength()
		}
	case typeRefresh:
		if length != refreshLengthOfMessage {
			e := malformed(codeRefresh, refreshLength, "a ROUTE-REFRESH is %d bytes long", length)
			return 0, e
		}
	default:
		e := malformed(codeHeader, headerBadType, "a message has type %d", kind)
		e.data = []byte{kind}
		return 0, e
	}
	return length, nil
}

// parseNotification reads the body of a NOTIFICATION, which is long enough.
func parseNotification(body []byte) Notification {
	n := Notification{Code: body[0], Subcode: body[1]}
	if n.Code == codeCease && (n.Subcode == ceaseShutdown || n.Subcode == ceaseReset) && len(body) > 2 {
		text := body[3:]
		n.Communication = printable(text[:min(int(body[2]), len(text))])
	}
	return n
}

// printable is what the other end had to say, without what would garble a log or an
// Event.
func printable(b []byte) string {
	var s []rune
	for _, r := range string(b) {
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		s = append(s, r)
	}
	return string(s)
}

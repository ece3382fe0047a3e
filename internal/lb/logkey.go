// SPDX-License-Identifier: Apache-2.0

package lb

// Keys of structured log records, the same in both binaries.
const (
	LogKeyService   = "service"
	LogKeyIP        = "ip"
	LogKeyPool      = "pool"
	LogKeyNode      = "node"
	LogKeyInterface = "interface"
	LogKeyMember    = "member"
	LogKeyPeer      = "peer"
	LogKeyFamily    = "family"
	LogKeyReason    = "reason"
	LogKeyObject    = "object"
	LogKeyError     = "error"
	LogKeyMessage   = "message"
	LogKeyCount     = "count"
)

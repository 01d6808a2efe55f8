package sglang

import (
	"crypto/rand"
	"encoding/hex"
)

// NewRID makes a request id: 32 random hexadecimal digits, as SGLang makes its
// own. All are of one length, because an abort matches by prefix, and hold no
// underscore, because SGLang's traces cut an id there.
func NewRID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return hex.EncodeToString(b[:])
}

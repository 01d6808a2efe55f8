package sglang

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEveryByteIsEscapedWhereverItStands(t *testing.T) {
	for length := range 24 {
		for c := range 0x80 {
			for at := range length {
				s := strings.Repeat("é", (length-1)/2) + strings.Repeat("a", (length-1)%2)
				s = s[:2*(at/2)] + string(rune(c)) + s[2*(at/2):]
				checkString(t, s)
				checkString(t, strings.Repeat(string(rune(c)), length))
			}
		}
	}
}

func TestALongTextOfNothingButEscapesIsWhole(t *testing.T) {
	checkString(t, strings.Repeat("\x01", 100_000))
}

func checkString(t *testing.T, s string) {
	t.Helper()
	var back string
	if err := json.Unmarshal(appendString([]byte{}, s), &back); err != nil || back != s {
		t.Fatalf("%q came back as %q: %v", s, back, err)
	}
	if before := string(appendString([]byte("before "), s)); before != "before "+string(appendString(nil, s)) {
		t.Fatalf("%q behind something else is %s", s, before)
	}
}

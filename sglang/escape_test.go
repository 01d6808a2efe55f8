package sglang

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEveryByteIsEscapedWhereverItStands(t *testing.T) {
	for length := range 3 * word {
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

func TestExactlyTheBytesOfAWordThatAreToBeEscapedAreFound(t *testing.T) {
	for a := range 0x100 {
		for b := range 0x100 {
			pair := string([]byte{byte(a), byte(b)})
			x := specials(firstWord(strings.Repeat(pair, word/2)))
			for i := range word {
				if found := x>>(i*word)&0xff == 0x80; found != (escapes[pair[i%2]].text != "") || x&^0x8080808080808080 != 0 {
					t.Fatalf("%q: %x", pair, x)
				}
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

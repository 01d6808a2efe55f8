package compat

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
)

func TestABodyIsReadWholeWhateverLengthIsAnnounced(t *testing.T) {
	for _, n := range []int{0, 1, trustedLength, trustedLength + bytes.MinRead, trustedLength + nextLength + 5000, 1 << 20} {
		whole := strings.Repeat("0123456789", n/10+1)[:n]
		for _, announced := range []int64{-1, 0, int64(n), 1 << 40} {
			for name, r := range map[string]*strings.Reader{"as it comes": strings.NewReader(whole), "halved": strings.NewReader(whole)} {
				in := iotest.DataErrReader(r)
				if name == "halved" {
					in = iotest.HalfReader(r)
				}
				if got, err := readAll(in, announced); err != nil || string(bytes.Join(got, nil)) != whole {
					t.Errorf("%d bytes, %d announced, %s: %d, %v", n, announced, name, len(got), err)
				}
			}
		}
	}
}

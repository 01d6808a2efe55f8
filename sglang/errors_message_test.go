package sglang

import "testing"

func TestADocumentOfUnknownShapeIsNotQuoted(t *testing.T) {
	for _, body := range []string{`[{"a":1,"a":[791,82]}]`, "[\"\xff\", [791,82]]"} {
		if m := messageOf([]byte(body)); m != "" {
			t.Errorf("%q: %q, safe %q", body, m, safe(m))
		}
	}
}

package compat

import (
	"encoding/json"
	"testing"
)

// The digits of texts were taken for token ids, and SGLang was made to compute those.
func TestAListOfTextsIsNotTakenForTokenIDs(t *testing.T) {
	for path, name := range map[string]string{"/generate": "text", "/v1/completions": "prompt"} {
		for _, list := range []string{`["99999999 99999999"]`, `["1","2"]`, `[[5,6],[7]]`, `[]`, `[ ]`} {
			if p := promptOf(path, map[string]json.RawMessage{name: json.RawMessage(list)}); p != nil {
				t.Errorf("%s %s: %+v", path, list, p)
			}
		}
	}
	p := promptOf("/v1/completions", map[string]json.RawMessage{"prompt": json.RawMessage(`[ 5, 6 ]`)})
	if p == nil || len(p.Request.InputIDs) != 2 {
		t.Errorf("ids: %+v", p)
	}
}

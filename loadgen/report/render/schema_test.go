package render

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"paceline/loadgen/report"
)

func TestWhatIsWrittenKeepsToTheSchema(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.Schema))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("results.json", document); err != nil {
		t.Fatal(err)
	}
	results, err := c.Compile("results.json")
	if err != nil {
		t.Fatal(err)
	}
	request, err := c.Compile("results.json#/$defs/Request")
	if err != nil {
		t.Fatal(err)
	}
	keeps := func(name string, s *jsonschema.Schema, text []byte, want bool) {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, r := range telling(t) {
		var b bytes.Buffer
		if err := report.WriteJSON(&b, r); err != nil {
			t.Fatal(err)
		}
		keeps(name, results, b.Bytes(), true)
		for _, run := range r.Runs {
			for _, q := range requestsOf(run) {
				line, err := json.Marshal(q)
				if err != nil {
					t.Fatal(err)
				}
				keeps(name, request, line, true)
			}
		}
		keeps(name+" of another format", results,
			bytes.Replace(b.Bytes(), []byte(`"format_version": 1`), []byte(`"format_version": 2`), 1), false)
		keeps(name+" without runs", results, bytes.Replace(b.Bytes(), []byte(`"runs"`), []byte(`"walks"`), 1), false)
	}
}

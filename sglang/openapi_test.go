package sglang

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

func TestTheFieldsOfRequestsAreReadFromOpenAPI(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/openapi.json" {
			fmt.Fprint(w, `{"openapi":"3.1.0","paths":{"/b":{"get":{}},
				"/a":{"get":{},"post":{"operationId":"x","requestBody":{"content":{"application/json":
				{"schema":{"anyOf":[{"$ref":"#/components/schemas/A"},{"type":"null"}]}}}}}}},
				"components":{"schemas":{"A":{"properties":{"one":{"type":"string"},"two":{"anyOf":[{"type":"integer"}]}}}}}}`)
		}
	}))
	defer server.Close()
	c, err := NewClient(server.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdle()
	fields, err := c.RequestFields(t.Context())
	names := fields["/a"]
	slices.Sort(names)
	_, there := fields["/b"]
	if err != nil || !slices.Equal(names, []string{"one", "two"}) || !there || len(fields) != 2 {
		t.Errorf("%v, %v", fields, err)
	}
}

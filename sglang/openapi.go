package sglang

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// RequestFields are the names of the outer fields that the bodies of a server's paths
// may have, by path. A path without a body has none.
type RequestFields map[string][]string

// openAPI is the part of /openapi.json that is used.
type openAPI struct {
	Paths map[string]map[string]struct {
		RequestBody struct {
			Content map[string]struct {
				Schema openAPISchema `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]openAPISchema `json:"schemas"`
	} `json:"components"`
}

type openAPISchema struct {
	Ref        string          `json:"$ref"`
	AnyOf      []openAPISchema `json:"anyOf"`
	Properties map[string]any  `json:"properties"`
}

// RequestFields reads /openapi.json.
func (c *Client) RequestFields(ctx context.Context) (RequestFields, error) {
	var doc openAPI
	if err := c.callJSON(ctx, http.MethodGet, "/openapi.json", nil, &doc); err != nil {
		return nil, err
	}
	fields := RequestFields{}
	for path, methods := range doc.Paths {
		fields[path] = nil
		for _, method := range methods {
			for _, content := range method.RequestBody.Content {
				fields[path] = doc.names(content.Schema, fields[path], 0)
			}
		}
	}
	return fields, nil
}

// names adds the names of a schema's properties to those that there are.
func (d *openAPI) names(s openAPISchema, names []string, depth int) []string {
	if depth > 8 {
		return names
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		names = d.names(d.Components.Schemas[name], names, depth+1)
	}
	for _, one := range s.AnyOf {
		names = d.names(one, names, depth+1)
	}
	for name := range s.Properties {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

package report

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// schema is what of JSON Schema the results need. Its fields are written in this
// order.
type schema struct {
	Dialect     string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Ref         string             `json:"$ref,omitempty"`
	Type        string             `json:"type,omitempty"`
	Format      string             `json:"format,omitempty"`
	Const       any                `json:"const,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Properties  properties         `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Others      *schema            `json:"additionalProperties,omitempty"`
	Definitions map[string]*schema `json:"$defs,omitempty"`
}

// properties keep the order of the fields.
type properties []property

type property struct {
	name string
	of   *schema
}

func (all properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, p := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		of, err := json.Marshal(p.of)
		if err != nil {
			return nil, err
		}
		b.WriteString(`"` + p.name + `":`)
		b.Write(of)
	}
	return []byte("{" + b.String() + "}"), nil
}

// enums are the fields that hold one of a few words.
var enums = map[string][]string{
	"Run.Mode": {"fixed", "defaults", "unbatched", "direct"}, "Run.Phase": {"cold", "warm"}, "Request.Phase": {"cold", "warm"},
	"Source.Kind": nil, // other kinds of load may come
}

// describer makes a schema of types, and knows what their comments say.
type describer struct {
	comments    map[string]string // by Type.Field, and by Type
	definitions map[string]*schema
}

// TestTheSchemaIsThatOfTheTypes: -update writes it anew.
func TestTheSchemaIsThatOfTheTypes(t *testing.T) {
	d := describer{commentsOf(t, ".", "../stats", "../plausibility"), map[string]*schema{}}
	root := d.object(reflect.TypeFor[Report]())
	d.of(reflect.TypeFor[Request]())
	root.Dialect, root.Title = "https://json-schema.org/draft/2020-12/schema", "results.json of loadgen, format 1"
	root.Properties[0].of.Const = FormatVersion
	root.Definitions = d.definitions
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("results.schema.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.ReplaceAll(string(Schema), "\r\n", "\n"), b.String()); diff != "" {
		t.Errorf("results.schema.json is stale (-is +should be): run go test ./loadgen/report -run Schema -update\n%s", diff)
	}
}

// of is the schema of a type: a reference for a struct.
func (d describer) of(t reflect.Type) *schema {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	case t.Kind() == reflect.Pointer:
		return d.of(t.Elem())
	case t.Kind() == reflect.Struct:
		if _, known := d.definitions[t.Name()]; !known {
			d.definitions[t.Name()] = nil // for types that hold themselves
			d.definitions[t.Name()] = d.object(t)
		}
		return &schema{Ref: "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &schema{Type: "string"} // base64
		}
		return &schema{Type: "array", Items: d.of(t.Elem())}
	case t.Kind() == reflect.Map:
		return &schema{Type: "object", Others: d.of(t.Elem())}
	case t.Kind() == reflect.Bool:
		return &schema{Type: "boolean"}
	case t.Kind() == reflect.String:
		return &schema{Type: "string"}
	case t.Kind() == reflect.Float64:
		return &schema{Type: "number"}
	case t.ConvertibleTo(reflect.TypeFor[int64]()):
		return &schema{Type: "integer"}
	}
	return &schema{}
}

func (d describer) object(t reflect.Type) *schema {
	o := &schema{Type: "object", Description: d.comments[t.Name()]}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := strings.Split(f.Tag.Get("json"), ",")
		if tag[0] == "-" || tag[0] == "" {
			continue
		}
		of := d.of(f.Type)
		of.Description = d.comments[t.Name()+"."+f.Name]
		of.Enum = enums[t.Name()+"."+f.Name]
		o.Properties = append(o.Properties, property{tag[0], of})
		if !slices.Contains(tag[1:], "omitempty") && !slices.Contains(tag[1:], "omitzero") {
			o.Required = append(o.Required, tag[0])
		}
	}
	return o
}

// commentsOf are the comments of the types and fields of some packages. A field
// without one has that of the group it stands in.
func commentsOf(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				types, ok := decl.(*ast.GenDecl)
				if !ok || types.Tok != token.TYPE {
					continue
				}
				for _, spec := range types.Specs {
					describe(found, types, spec.(*ast.TypeSpec))
				}
			}
		}
	}
	return found
}

func describe(found map[string]string, decl *ast.GenDecl, spec *ast.TypeSpec) {
	of, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	found[spec.Name.Name] = prose(decl.Doc)
	for _, f := range of.Fields.List {
		for _, name := range f.Names {
			found[spec.Name.Name+"."+name.Name] = strings.TrimSpace(prose(f.Doc) + " " + prose(f.Comment))
		}
	}
}

func prose(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// TestEveryFieldSaysWhatItIs: whoever reads results.json has the schema alone.
func TestEveryFieldSaysWhatItIs(t *testing.T) {
	if *update {
		t.Skip("the schema is being written")
	}
	type field struct {
		Description string
		Ref         string `json:"$ref"`
	}
	var s struct {
		Defs map[string]struct {
			Properties map[string]field
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema, &s); err != nil {
		t.Fatal(err)
	}
	for of, d := range s.Defs {
		for name, p := range d.Properties {
			if p.Description == "" && p.Ref == "" && of != "Summary" {
				t.Errorf("%s.%s has no comment in its Go type", of, name)
			}
		}
	}
}
